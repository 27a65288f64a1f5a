"""Configurations: the points that differ in nothing but the seed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from raykd.results.records import PointRecord
from raykd.results.settings import Settings

BUDGET = "data.budget"
DONE = ("finished", "failed")
"""States of a point whose seed counts as done."""


@dataclass(frozen=True)
class Configuration:
    """Points that differ in their seed alone.

    Attributes:
        name: what progress lines call its points, without the seed.
        varied: searched key -> value, the seed left out.
    """

    method: str
    name: str
    varied: Mapping[str, Any]
    points: tuple[PointRecord, ...]

    @property
    def finished(self) -> list[PointRecord]:
        """The points that have a result."""
        return [point for point in self.points if point.result is not None]

    @property
    def settings(self) -> Settings:
        """What readers need of the configuration; the same for all seeds."""
        return self.points[0].settings

    @property
    def unfinished(self) -> dict[str, int]:
        """Status -> how many of the points that have no result."""
        found: dict[str, int] = {}
        for point in self.points:
            if point.result is None:
                found[point.state.status] = found.get(point.state.status, 0) + 1
        return found

    def values(self, score: str | None) -> list[float]:
        """A score of every seed that has it, in the order of the points."""
        found = [point.scores.values.get(score) for point in self.points if point.scores is not None and score]
        return [value for value in found if value is not None]

    def test_values(self, name: str) -> list[float]:
        """The main score on a test set of every seed that was scored on it, in the order of the points."""
        found = [point.tests[name].scores.main_value for point in self.points if name in point.tests]
        return [value for value in found if value is not None]

    def mean(self, score: str | None) -> float | None:
        """The mean of a score over seeds; None without one."""
        return mean_of(self.values(score))

    @property
    def mean_seconds(self) -> float | None:
        """The mean time of a finished point; None without one."""
        return mean_of(point.result.seconds for point in self.points if point.result is not None)

    def cells(self) -> dict[str, float]:
        """Cell -> mean over seeds of the metric that stands for it."""
        found: dict[str, list[float]] = {}
        for point in self.points:
            for name, value in (point.scores.cell_values() if point.scores is not None else {}).items():
                found.setdefault(name, []).append(value)
        return {name: fmean(values) for name, values in found.items()}

    @property
    def budget(self) -> Any:
        """The searched budget; None where there is none."""
        return self.varied.get(BUDGET)

    @property
    def num_items(self) -> int | None:
        """The budget as a number; what `all` stands for is known once a point is finished."""
        if isinstance(self.budget, int):
            return self.budget
        sizes = [point.result.budget_size for point in self.points if point.result is not None]
        return next(iter(sizes), None)


def by_configuration(points: Iterable[PointRecord]) -> list[Configuration]:
    """Points by configuration, each in the place of its first point."""
    groups: dict[str, list[PointRecord]] = {}
    for point in points:
        groups.setdefault(point.description.configuration, []).append(point)
    return [_configuration(members) for members in groups.values()]


def ranked(configurations: Iterable[Configuration], main: str | None) -> list[Configuration]:
    """Configurations by the mean of a score over seeds, the best first; then those with fewer seeds than may count.

    Those without a score come last, and equal ones by name.
    """
    every = list(configurations)
    counts = compared([(each.settings.budget, len(each.finished), len(each.points)) for each in every])

    def key(each: tuple[Configuration, bool]) -> tuple[bool, bool, float, str]:
        mean = each[0].mean(main)
        return mean is None, not each[1], -(mean or 0.0), each[0].name

    return [each for each, _ in sorted(zip(every, counts, strict=True), key=key)]


def compared(seeds: Sequence[tuple[Any, int, int]]) -> list[bool]:
    """Which configurations may be compared by their means: those with as many results as any of their budget, or with
    a result of every seed of their own.

    One that was given up after its first seeds, or has yet to run the others, does not win by a lucky seed.

    Args:
        seeds: of each configuration its budget, how many seeds have a result and how many there are.
    """
    most: dict[Any, int] = {}
    for budget, done, _ in seeds:
        most[budget] = max(done, most.get(budget, 0))
    return [done >= min(most[budget], num) for budget, done, num in seeds]


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of the values that there are; None without one."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _configuration(points: list[PointRecord]) -> Configuration:
    first = points[0].description
    name = first.label.removesuffix(f" seed={first.varied.get('seed')}")
    return Configuration(first.method, name, first.varied_but_seed, tuple(points))
