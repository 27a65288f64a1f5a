"""A model's scores, and what became of every example: what the scores can be computed from again."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

_KEY_LENGTH = 8
"""Hexadecimal digits: of 10,000 items one pair is taken for one with a chance of 1 in 100."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A model's scores on one set, in percent.

    Attributes:
        main: the score that points are compared by.
        columns: score -> its heading; those that a leaderboard shows, the main ones first.
        values: score -> value; None where the set holds nothing to take it over.
        cells: cell -> metric -> value, and counts, whose names begin with `num_`. A cell is a language, or a pair of
            question and context language with a hyphen between them.
        metric: the metric that stands for a cell.
        is_matrix: cells are pairs of question and context language.
        probes: score -> language -> metric -> value, of scores that are not taken over cells.
        watched: what is reported after every epoch beside the main score. No score: it decides nothing.
        chosen: what was chosen on this set for the model, by the key of its section: a threshold, say. If the set is
            the selection set, test sets and predictions take it as it is.
    """

    main: str
    columns: Mapping[str, str]
    values: Mapping[str, float | None]
    cells: Mapping[str, Mapping[str, int | float]] = field(default_factory=dict)
    metric: str = "f1"
    is_matrix: bool = False
    probes: Mapping[str, Mapping[str, Mapping[str, int | float]]] = field(default_factory=dict)
    watched: Mapping[str, float] = field(default_factory=dict)
    chosen: Mapping[str, float] = field(default_factory=dict)

    @property
    def main_value(self) -> float | None:
        """The score that points are compared by."""
        return self.values.get(self.main)

    @property
    def main_heading(self) -> str:
        """What that score is called."""
        return self.columns.get(self.main, self.main)

    @property
    def headline(self) -> str:
        """The first two columns that have a value, in words."""
        return self._in_words(2)

    @property
    def in_words(self) -> str:
        """All columns that have a value, in words."""
        return self._in_words(len(self.columns))

    def cell_values(self, metric: str | None = None) -> dict[str, float]:
        """Cell -> a metric of it, by default the one that stands for it."""
        return {cell: metrics[metric or self.metric] for cell, metrics in self.cells.items()}

    def _in_words(self, most: int) -> str:
        found = [(heading, self.values.get(name)) for name, heading in self.columns.items()]
        return ", ".join([f"{heading} {value:.1f}" for heading, value in found if value is not None][:most])


@dataclass(frozen=True)
class CellOutcomes:
    """What became of the examples of one cell.

    Attributes:
        items: hash of its items in order, see `Outcomes`.
        values: one entry for each example: a number in percent, or [true positives, predicted, gold] counts.
    """

    items: str
    values: list[Any]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What became of every example that a model was scored on.

    Attributes:
        statistic: how a cell's score comes out of its examples: the `mean` of numbers, or micro `f1` of counts.
        unit: what an example is called.
        scores: score -> the cells that it is the mean of.
        items: hash of a cell's items -> their keys in order, separated by spaces. A key is the same in all cells that
            ask for the same thing.
        cells: cell -> its examples.
    """

    statistic: Literal["mean", "f1"]
    unit: str
    scores: Mapping[str, list[str]]
    items: Mapping[str, str]
    cells: Mapping[str, CellOutcomes]


@dataclass(frozen=True)
class Evaluation:
    """A model's scores on data that no sweep chose, and what it said.

    Attributes:
        rows: of every example its best answers with their scores, where they were asked for.
        answers: cell -> id -> the best answer, which was scored.
    """

    scores: Scores
    rows: Sequence[Mapping[str, Any]]
    answers: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Scored:
    """A model's scores, and the outcomes of single examples that they come from."""

    scores: Scores
    outcomes: Outcomes


def record_outcomes(
    cells: Mapping[str, tuple[Sequence[str], Sequence[Any]]],
    *,
    statistic: Literal["mean", "f1"],
    unit: str,
    scores: Mapping[str, Sequence[str]],
) -> Outcomes:
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
        recorded[cell] = CellOutcomes(name, list(values))
    return Outcomes(
        statistic=statistic,
        unit=unit,
        scores={score: list(names) for score, names in scores.items() if names},
        items=items,
        cells=recorded,
    )
