"""Scores computed again from the outcomes of single examples."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from raykd.report.examples import read_examples


def check_rebuilt(outcomes: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    """The main score, the others that are means of cells, and every cell come out of single examples again."""
    recorded = json.loads(json.dumps(outcomes))
    assert scores["main"] in recorded["scores"]
    for score in recorded["scores"]:
        assert read_examples(recorded, score).score == pytest.approx(scores[score], abs=1e-9)
    for cell, found in scores["cells"].items():
        alone = {**recorded, "scores": {cell: [cell]}}
        assert read_examples(alone, cell).score == pytest.approx(found[scores.get("metric", "f1")], abs=1e-9)
