"""What became of every example that a model was scored on: what its scores can be computed from again."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_KEY_LENGTH = 8
"""Hexadecimal digits: of 10,000 items one pair is taken for one with a chance of 1 in 100."""


@dataclass(frozen=True)
class Scored:
    """A model's scores, and the outcomes of single examples that they come from, see `Journal.write_outcomes`."""

    scores: dict[str, Any]
    outcomes: dict[str, Any]


def record_outcomes(
    cells: Mapping[str, tuple[Sequence[str], Sequence[Any]]],
    *,
    statistic: Literal["mean", "f1"],
    unit: str,
    scores: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Outcomes as they are recorded.

    Args:
        cells: cell -> ids of its items, and the value of each. Examples of the same id, in whatever cells, belong
            together: they are no independent evidence.
        statistic: how values make a cell's score.
        unit: what an example is called.
        scores: score -> the cells that it is the mean of. A score without a cell is left out.
    """
    items: dict[str, str] = {}
    recorded = {}
    for cell, (ids, values) in cells.items():
        keys = " ".join(hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_LENGTH] for name in ids)
        name = hashlib.sha256(keys.encode()).hexdigest()[:16]
        items[name] = keys
        recorded[cell] = {"items": name, "values": list(values)}
    return {
        "statistic": statistic,
        "unit": unit,
        "scores": {score: list(names) for score, names in scores.items() if names},
        "items": items,
        "cells": recorded,
    }
