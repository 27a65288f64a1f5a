"""How a sweep stands, made of how its points do; the estimates of what is left."""

import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from raykd.results.journal import Status
from raykd.status.point import OVER, PointReading, PointStatus, epochs_of

STATES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Best:
    """The point with the highest main score so far, and what that score is called."""

    id: str
    label: str
    score: float
    heading: str


@dataclass(frozen=True)
class Run:
    """A run that is alive: its number, its process, and when it began, in seconds of the Unix clock."""

    number: int
    who: str
    since: float


@dataclass(frozen=True)
class SweepStatus:
    """A sweep.

    Attributes:
        run: None where none is alive.
        counts: state -> points; the sum is `num_points`.
        to_draw: points that a searcher has yet to choose.
        epochs, num_epochs: over all points, those to be drawn too; of a point that is over all count as done.
        seconds_left: an estimate; None where nothing runs, or nothing is known yet.
        doing: what the run makes for all points.
        waiting: what is waited for and why, a line each.
        best: None before the first result.
        points: in the order of the file, or by id where a searcher chooses them.
    """

    name: str
    root: str
    run: Run | None
    counts: Mapping[Status, int]
    num_points: int
    to_draw: int
    epochs: int
    num_epochs: int
    seconds_left: float | None
    doing: str | None
    waiting: tuple[str, ...]
    best: Best | None
    points: tuple[PointStatus, ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing runs, and nothing is left that a run would do."""
        return self.run is None and not self.to_draw and all(point.state in OVER for point in self.points)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def sweep_status(
    root: str,
    held: Mapping[str, Any] | None,
    described: Mapping[str, Any],
    read: Sequence[PointReading],
    activity: Mapping[str, Any],
) -> SweepStatus:
    """The status that points, and what the journal holds beside them, amount to.

    Args:
        held: the lease's record of the run that is alive.
        described: what `sweep.json` holds.
        activity: what `activity.json` holds, of whatever run; empty without one.
    """
    run = Run(held["number"], held["who"], held["since"]) if held else None
    config = described["config"]
    to_draw = max(0, config["search"]["num_points"] - len(read)) if config and not described["points"] else 0
    still_to_do = to_draw * (epochs_of(config) if config else 0)
    read = _with_estimates(read)
    points = tuple(each.status for each in read)
    counts = {state: sum(point.state == state for point in points) for state in STATES}
    activity = activity if run and activity.get("run") == run.number else {}
    return SweepStatus(
        name=described["name"],
        root=root,
        run=run,
        counts=counts,
        num_points=len(points),
        to_draw=to_draw,
        epochs=sum(point.num_epochs if point.state in OVER else point.epoch or 0 for point in points),
        num_epochs=sum(point.num_epochs for point in points) + still_to_do,
        seconds_left=_seconds_left(read, still_to_do, activity.get("at_once")) if run else None,
        doing=activity.get("doing") if config else "a connection to the cluster",
        waiting=_waiting(counts, to_draw, activity) if run else (),
        best=_best(read),
        points=points,
    )


def _with_estimates(read: Sequence[PointReading]) -> list[PointReading]:
    """Points with the seconds that they still take: at their own pace, or else that of the points most like them."""
    paces: dict[Hashable, list[float]] = {}
    for each in read:
        for name in each.alike if each.pace is not None else ():
            paces.setdefault(name, []).append(each.pace)
    means = {name: statistics.fmean(found) for name, found in paces.items()}
    estimated = []
    for each in read:
        point, pace = each.status, each.pace
        if pace is None:
            pace = next((means[name] for name in each.alike if name in means), None)
        left = None
        if pace is not None and point.state not in OVER:
            left = pace * max(point.num_epochs - (point.epoch or 0) - point.share, 0.0)
        estimated.append(replace(each, status=replace(point, seconds_left=left), pace=pace))
    return estimated


def _seconds_left(read: Sequence[PointReading], still_to_do: int, at_once: int | None) -> float | None:
    """Of a run that does so many points at once.

    Args:
        still_to_do: epochs of points that are not known yet.
    """
    due = [each for each in read if each.status.state not in OVER]
    if not read:
        return None
    lefts = [each.status.seconds_left for each in due]
    paces = [each.pace for each in read if each.pace is not None]
    if None in lefts or (still_to_do and not paces):
        return None
    total = sum(lefts) + (still_to_do * statistics.fmean(paces) if still_to_do else 0.0)
    running = [each.status.seconds_left for each in due if each.status.state == "running"]
    return max(total / (at_once or len(running) or 1), *running, 0.0)


def _waiting(counts: Mapping[Status, int], to_draw: int, activity: Mapping[str, Any]) -> tuple[str, ...]:
    idle = counts["pending"] + counts["interrupted"] + to_draw
    reasons = list(activity.get("waiting", ()))
    if idle and activity.get("doing"):
        reasons.append(f"{idle} point(s) for what they share, which is being made")
    elif idle and activity.get("at_once"):
        reasons.append(f"{idle} point(s) for their turn: {activity['at_once']} at a time")
    return tuple(reasons)


def _best(read: Sequence[PointReading]) -> Best | None:
    scored = [each for each in read if each.status.score is not None]
    if not scored:
        return None
    best = max(scored, key=lambda each: each.status.score)
    return Best(best.status.id, best.status.label, best.status.score, best.heading)
