"""Points by name, and the best of them: the same rules for every command."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from raykd.errors import DataError
from raykd.results.points import Status
from raykd.results.records import PointRecord

PointT = TypeVar("PointT")

BEST = "best"
NAMES = "its label, its id or the id's beginning, its method where one point of that is finished, or 'best'"
"""What a point goes by."""
MOST_SHOWN = 5


@dataclass(frozen=True)
class Named:
    """A point as far as its name goes.

    Attributes:
        is_finished: it ended with a result, of which `score` is the main one.
    """

    id: str
    label: str
    method: str
    status: Status
    error: str | None = None
    is_finished: bool = False
    score: float | None = None

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
        )

    @property
    def shown(self) -> str:
        """Its label and its id."""
        return f"{self.label!r} ({self.id})"


def best_point(points: Iterable[PointT], score: Callable[[PointT], float | None]) -> PointT | None:
    """The point with the highest main score, the first of those that are equal; None where none has one."""
    scored = [(value, point) for point in points if (value := score(point)) is not None]
    return max(scored, key=lambda each: each[0])[1] if scored else None


def find_point(points: Sequence[Named], wanted: str, *, where: str, finished: bool = False) -> Named:
    """The point that a name means.

    Args:
        points: those to look among.
        wanted: a label, an id or its beginning, a method of which one point is finished (or which has one point), or
            `best`: the finished point with the highest main score.
        where: the place of the results, for the error.
        finished: only a point that has a result will do.

    Raises:
        DataError: if there is no such point, there are several, or it is not finished; the line says what to do.
    """
    if wanted == BEST:
        best = best_point(points, lambda point: point.score)
        if best is None:
            raise DataError(f"no point in {where} has a main score ({states(points) or 'there are none'})")
        return best
    found, by_method = _called(points, wanted)
    if not found:
        raise DataError(f"{where} has no point {wanted!r}; {_nearest(points, wanted)}")
    done = [point for point in found if point.is_finished]
    if finished and not done:
        raise DataError(f"no point {wanted!r} in {where} is finished ({states(found)}); run that sweep to its end")
    left = done if finished or (by_method and len(done) == 1) else found
    if len(left) > 1:
        kind = "finished points" if finished else "points"
        raise DataError(
            f"{len(left)} {kind} in {where} go by {wanted!r}: {shortened([point.shown for point in left])}; "
            f"choose one by its label or id, or the best of the sweep by {BEST!r}"
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
        return "no point was ever added"
    return f"nearest are {', '.join(map(repr, near))}. A point goes by {NAMES}"
