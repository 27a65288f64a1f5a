"""How a sweep stands, made of how its points do; the estimates of what is left."""

import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from raykd.results.find import best_point
from raykd.results.lease import LeaseRecord
from raykd.results.points import Status
from raykd.results.sweep import Activity, SweepDescription
from raykd.results.words import counted
from raykd.status.point import OVER, PointReading, PointStatus

STATES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Best:
    """The best seed of the best configuration so far, and what its score on the selection set is called."""

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
    held: LeaseRecord | None,
    described: SweepDescription,
    read: Sequence[PointReading],
    activity: Activity | None,
) -> SweepStatus:
    """The status that points, and what the journal holds beside them, amount to.

    Args:
        held: the run that is alive.
        described: empty but for the name while that has yet to record what it runs.
        activity: of whatever run.
    """
    run = Run(held.number, held.who, held.since) if held else None
    settings, is_known = described.settings, bool(described.config)
    to_draw = max(0, settings.num_points - len(read)) if is_known and not described.points else 0
    still_to_do = to_draw * settings.num_epochs
    read = _with_estimates(read)
    points = tuple(each.status for each in read)
    counts = {state: sum(point.state == state for point in points) for state in STATES}
    if run is None or activity is None or activity.run != run.number:
        activity = Activity(run=0)
    return SweepStatus(
        name=described.name,
        root=root,
        run=run,
        counts=counts,
        num_points=len(points),
        to_draw=to_draw,
        epochs=sum(point.num_epochs if point.state in OVER else point.epoch or 0 for point in points),
        num_epochs=sum(point.num_epochs for point in points) + still_to_do,
        seconds_left=_seconds_left(read, still_to_do, activity.at_once) if run else None,
        doing=activity.doing if is_known else "a connection to the cluster",
        waiting=_waiting(counts, to_draw, activity) if run else (),
        best=_best(read),
        points=points,
    )


def _with_estimates(read: Sequence[PointReading]) -> list[PointReading]:
    """Points with the seconds that they still take: at their own pace, or else that of the points most like them."""
    paces: dict[Hashable, list[float]] = {}
    for each in read:
        if each.pace is not None:
            for name in each.alike:
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
    lefts = [each.status.seconds_left for each in due if each.status.seconds_left is not None]
    paces = [each.pace for each in read if each.pace is not None]
    if len(lefts) < len(due) or (still_to_do and not paces):
        return None
    total = sum(lefts) + (still_to_do * statistics.fmean(paces) if still_to_do else 0.0)
    running = [left for left, each in zip(lefts, due, strict=True) if each.status.state == "running"]
    return max(total / (at_once or len(running) or 1), *running, 0.0)


def _waiting(counts: Mapping[Status, int], to_draw: int, activity: Activity) -> tuple[str, ...]:
    idle = counts["pending"] + counts["interrupted"] + to_draw
    reasons = list(activity.waiting)
    if idle and activity.doing:
        reasons.append(f"{counted(idle, 'point')} for teacher outputs")
    elif idle and activity.at_once:
        reasons.append(f"{counted(idle, 'point')} queued ({activity.at_once} run at once)")
    return tuple(reasons)


def _best(read: Sequence[PointReading]) -> Best | None:
    best = best_point(read, lambda each: each.status.named)
    if best is None or best.status.score is None:
        return None
    return Best(best.status.id, best.status.label, best.status.score, best.heading)
