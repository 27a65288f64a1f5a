"""The single examples behind a score, as arrays: what tests of paired differences work on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from raykd.tasks.outcomes import Outcomes


@dataclass(frozen=True, eq=False)
class Examples:
    """What one model made of the examples that a score is taken over, summed by item.

    An item is what cells have in common: the same question occurs in many cells of question and context language, so
    cells are not independent, and items are what a test may resample. A cell's score is the sum of its numerators over
    the sum of its denominators, 0 where that is 0, and the score is the mean over cells, in percent.

    Attributes:
        cells: K names.
        items: C keys.
        counts: [C, K] int, examples.
        numerators: [C, K]; of a mean, the examples' values; of micro F1, 200 times the true positives.
        denominators: [C, K]; of a mean, the counts; of micro F1, predicted and gold ones together.
    """

    cells: tuple[str, ...]
    items: tuple[str, ...]
    counts: np.ndarray
    numerators: np.ndarray
    denominators: np.ndarray

    @cached_property
    def score(self) -> float:
        """The score of all examples."""
        return float(ratio(self.numerators.sum(axis=0), self.denominators.sum(axis=0)).mean())

    def of_cells(self, names: Sequence[str]) -> "Examples":
        """The same of some cells, without items that these do not hold."""
        columns = [self.cells.index(name) for name in names]
        rows = np.flatnonzero(self.counts[:, columns].any(axis=1))
        at = np.ix_(rows, np.array(columns))
        items = tuple(self.items[row] for row in rows)
        return Examples(tuple(names), items, self.counts[at], self.numerators[at], self.denominators[at])

    def matches(self, other: "Examples") -> bool:
        """Whether both models were given the same examples."""
        same = self.cells == other.cells and self.items == other.items
        return same and np.array_equal(self.counts, other.counts)

    def strata(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Items and cells, as rows and columns, in groups that have nothing in common: what is drawn independently."""
        is_there = csr_array(self.counts > 0, dtype=np.int64)
        _, group = connected_components(is_there.T @ is_there, directed=False)
        of_item = group[(self.counts > 0).argmax(axis=1)]
        return [(np.flatnonzero(of_item == each), np.flatnonzero(group == each)) for each in np.unique(group)]


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """The quotients, 0 where the denominator is 0: a share of nothing."""
    return np.divide(
        numerators, denominators, out=np.zeros(np.broadcast(numerators, denominators).shape), where=denominators != 0
    )


def read_examples(outcomes: Outcomes, score: str) -> Examples:
    """The examples behind a score.

    Raises:
        KeyError: if the outcomes hold no such score.
    """
    cells = tuple(outcomes.scores[score])
    keys = {name: keys.split() for name, keys in outcomes.items.items()}
    members = [keys[outcomes.cells[cell].items] for cell in cells]
    items = tuple(sorted({key for each in members for key in each}))
    place = {key: row for row, key in enumerate(items)}
    counts = np.zeros((len(items), len(cells)), dtype=np.int64)
    numerators, denominators = np.zeros(counts.shape), np.zeros(counts.shape)
    for column, (cell, of_cell) in enumerate(zip(cells, members, strict=True)):
        rows = np.array([place[key] for key in of_cell], dtype=np.int64)
        tops, bottoms = _parts(outcomes.cells[cell].values, outcomes.statistic)
        for target, values in ((counts, np.ones(len(rows))), (numerators, tops), (denominators, bottoms)):
            target[:, column] = np.bincount(rows, weights=values, minlength=len(items))
    return Examples(cells, items, counts, numerators, denominators)


def _parts(values: Sequence[Any], statistic: str) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of every example."""
    if statistic == "f1":
        hits, predicted, gold = np.array(values, dtype=float).reshape(-1, 3).T
        return 200 * hits, predicted + gold
    return np.array(values, dtype=float), np.ones(len(values))
