"""Points by name, and the best of them: the same rules for every command."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from raykd.errors import DataError
from raykd.results.configurations import compared
from raykd.results.points import Status
from raykd.results.records import PointRecord

PointT = TypeVar("PointT")

BEST = "best"
NAMES = "label, id or its beginning, method (if it has one finished point), or 'best'"
"""What a point goes by."""
MOST_SHOWN = 5


@dataclass(frozen=True)
class Named:
    """A point as far as its name goes.

    Attributes:
        is_finished: it ended with a result, of which `score` is the main one.
        configuration: the same for points that differ in the seed alone; `budget` is what it trains on.
    """

    id: str
    label: str
    method: str
    status: Status
    error: str | None = None
    is_finished: bool = False
    score: float | None = None
    configuration: str = ""
    budget: Any = None

    @classmethod
    def of(cls, point: PointRecord) -> "Named":
        """That of a record."""
        return cls(
            id=point.id,
            label=point.label,
            method=point.method,
            status=point.status,
            error=point.state.error,
            is_finished=point.status == "finished",
            score=point.main_score if point.status == "finished" else None,
            configuration=point.description.configuration,
            budget=point.settings.budget,
        )

    @property
    def shown(self) -> str:
        """Its label and its id."""
        return f"{self.label!r} ({self.id})"


def best_point(points: Iterable[PointT], named: Callable[[PointT], Named]) -> PointT | None:
    """Of the configuration with the highest mean main score over seeds the point with the highest one.

    Scores are those on the selection set. Of equal ones it is the first; None where no point has one.
    """
    groups: dict[str, list[tuple[Named, PointT]]] = {}
    for point in points:
        name = named(point)
        groups.setdefault(name.configuration, []).append((name, point))
    # By name, so that of equal ones the same is first as on a leaderboard.
    every = sorted(groups.values(), key=lambda group: min(name.label for name, _ in group))
    counts = compared([(each[0][0].budget, sum(name.is_finished for name, _ in each), len(each)) for each in every])
    scored = [
        [(name.score, point) for name, point in group if name.score is not None]
        for group, counts_too in zip(every, counts, strict=True)
        if counts_too
    ]
    best = max(filter(None, scored), key=lambda group: fmean(score for score, _ in group), default=None)
    return max(best, key=lambda each: each[0])[1] if best else None


def find_point(points: Sequence[Named], wanted: str, *, where: str, finished: bool = False) -> Named:
    """The point that a name means.

    Args:
        points: those to look among.
        wanted: a label, an id or its beginning, a method of which one point is finished (or which has one point), or
            `best`, see `best_point`.
        where: the place of the results, for the error.
        finished: only a point that has a result will do.

    Raises:
        DataError: if there is no such point, there are several, or it is not finished; the line says what to do.
    """
    if wanted == BEST:
        best = best_point(points, lambda point: point)
        if best is None:
            raise DataError(f"no point in {where} has a main score ({states(points) or 'there are none'})")
        return best
    found, by_method = _called(points, wanted)
    if not found:
        raise DataError(f"{where} has no point {wanted!r}; {_nearest(points, wanted)}")
    done = [point for point in found if point.is_finished]
    if finished and not done:
        raise DataError(f"no point {wanted!r} in {where} is finished ({states(found)}); finish that sweep")
    left = done if finished or (by_method and len(done) == 1) else found
    if len(left) > 1:
        kind = "finished points" if finished else "points"
        raise DataError(
            f"{len(left)} {kind} in {where} match {wanted!r}: {shortened([point.shown for point in left])}; "
            f"choose one by its label or id, or the best one by {BEST!r}"
        )
    return left[0]


def states(points: Sequence[Named]) -> str:
    """How points stand, and why those that failed did; the first few of them."""
    words = [f"{point.shown} is {point.status}" + (f": {point.error}" if point.error else "") for point in points]
    return shortened(words)


def shortened(words: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = [f"and {len(words) - MOST_SHOWN} more"] if len(words) > MOST_SHOWN else []
    return ", ".join([*words[:MOST_SHOWN], *more])


def _called(points: Sequence[Named], wanted: str) -> tuple[list[Named], bool]:
    """The points of a name, and whether it is that of a method.

    A label or an id goes before a method, and that before the beginning of an id.
    """
    found = [point for point in points if wanted in (point.label, point.id)]
    of_method = [point for point in points if wanted == point.method]
    if found or of_method:
        return found or of_method, not found
    return [point for point in points if wanted and point.id.startswith(wanted)], False


def _nearest(points: Sequence[Named], wanted: str) -> str:
    names = {name for point in points for name in (point.label, point.id, point.method)}
    near = difflib.get_close_matches(wanted, sorted(names), n=MOST_SHOWN, cutoff=0.0)
    if not near:
        return "the sweep has no points yet"
    return f"nearest are {', '.join(map(repr, near))}. A point is named by {NAMES}"
