"""Version 1 of those records that have changed since: its content, as the version of today has it."""

from collections.abc import Mapping
from typing import Any

_NO_SCORES = ("main", "metric", "columns", "cells", "probes", "watched")


def epoch_report(content: Mapping[str, Any]) -> dict[str, Any]:
    """The losses were called `label` and `kd`."""
    names = {"label": "label_loss", "kd": "kd_loss"}
    return {names.get(name, name): value for name, value in content.items()}


def point_result(content: Mapping[str, Any]) -> dict[str, Any]:
    """Scores lay flat."""
    return {**content, "scores": scores(content["scores"])}


def base_scores(content: Mapping[str, Any]) -> dict[str, Any]:
    """Scores lay flat."""
    return {**content, **{kind: scores(content[kind]) for kind in ("final", "epoch") if kind in content}}


def generations(content: list[Any]) -> dict[str, Any]:
    """A list without a name."""
    return {"generations": content}


def outcomes(content: Mapping[str, Any]) -> dict[str, Any]:
    """They were all that the file held."""
    return {"outcomes": dict(content)}


def scores(content: Mapping[str, Any]) -> dict[str, Any]:
    """Values lay beside what describes them. Scores of cells by language named their metric, a matrix did not."""
    values = {name: value for name, value in content.items() if name not in _NO_SCORES}
    described = {name: content[name] for name in _NO_SCORES if name in content}
    return {**described, "values": values, "is_matrix": "metric" not in content}
