"""Scores computed again from the outcomes of single examples."""

import json
from dataclasses import replace

import pytest

from raykd.report.examples import read_examples
from raykd.results.points import PointOutcomes
from raykd.tasks.outcomes import Outcomes, Scores


def check_rebuilt(outcomes: Outcomes, scores: Scores) -> None:
    """The main score, the others that are means of cells, and every cell come out of single examples again."""
    written = json.loads(json.dumps(PointOutcomes(outcomes).to_json()))
    recorded = PointOutcomes.from_json(written, where="outcomes.json").outcomes
    assert scores.main in recorded.scores
    for score in recorded.scores:
        assert read_examples(recorded, score).score == pytest.approx(scores.values[score], abs=1e-9)
    for cell, value in scores.cell_values().items():
        alone = replace(recorded, scores={cell: [cell]})
        assert read_examples(alone, cell).score == pytest.approx(value, abs=1e-9)
