"""The points of a run: how each of them stands, and who is told."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raykd.errors import ArtifactError, RaykdError
from raykd.plan.points import Point
from raykd.plan.sweep import SweepConfig
from raykd.reasons import DISK_FULL, reason_in
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.sweep import Activity
from raykd.results.words import counted
from raykd.storage import is_full
from raykd.sweep.searcher import points_of_suggestion
from raykd.sweep.trial import point_description
from raykd.worker.heartbeat import StallDetector


class Progress:
    """What a sweep tells whoever watches; the command line draws it, by default nothing is said."""

    def line(self, text: str) -> None:
        """Something happened."""

    def epoch(self, point: Point, report: EpochReport) -> None:
        """A point did an epoch."""

    def waiting(self, reasons: Sequence[str]) -> None:
        """What the run waits for has changed; nothing any more where there are no reasons."""

    def ended(self, point: Point, status: str, detail: str) -> None:
        """A point is done."""

    def given_up(self, points: Sequence[Point], why: str) -> None:
        """Points of a configuration will not run."""


class RunRecorder:
    """Keeps the journal and whoever watches informed of the points of a run.

    Attributes:
        counts: finished, failed and stopped points of this run; `ended_ids` are theirs.
    """

    def __init__(
        self,
        sweep: SweepConfig,
        journal: Journal,
        progress: Progress,
        *,
        run: int,
        changed: Callable[[str], None],
    ) -> None:
        """
        Args:
            run: number of this run.
            changed: told the id of a point that did an epoch, or ended; it must return at once.
        """
        self.sweep, self.journal, self.progress = sweep, journal, progress
        self.activity = Activity(run=run)
        self.changed = changed
        self.points: dict[str, Point] = {}
        self.counts: Counter[str] = Counter()
        self.ended_ids: set[str] = set()
        self.detectors: dict[str, StallDetector] = {}

    def add(self, point: Point, *, suggested: Mapping[str, Any] | None = None) -> None:
        """Record a point in the journal, with the values that a searcher chose."""
        self.points[point.id] = point
        self.journal.heartbeats.forget(point.id)
        self.journal.points.add(point_description(point, suggested=suggested))

    def points_of(self, values: Mapping[str, Any]) -> list[Point]:
        """The point that a trial's configuration names, or all seeds of what a searcher's values stand for."""
        if "point" in values:
            return [self.points[values["point"].id]]
        points = points_of_suggestion(self.sweep, values)
        for point in points:
            if point.id not in self.points:
                self.add(point, suggested=dict(values))
        return points

    def current(self, points: Sequence[Point]) -> Point:
        """The one of a trial's points that it is at, or was at last: they run one after another."""
        states = {point.id: self.journal.points.state(point.id).status for point in points}
        running = [point for point in points if states[point.id] == "running"]
        begun = [point for point in points if states[point.id] in ("finished", "failed")]
        return next(iter(running), begun[-1] if begun else points[0])

    def reported(self, point: Point, report: EpochReport) -> None:
        """A point did an epoch."""
        self.progress.epoch(point, report)
        self.changed(point.id)

    def waits(self, text: str) -> None:
        """Something that the run needs is not there."""
        self.progress.line(text)

    def does(self, **changes: Any) -> None:
        """What the run does beside its points has changed; the names are those of `Activity`."""
        before, self.activity = self.activity, replace(self.activity, **changes)
        if self.activity == before:
            return
        if self.activity.waiting != before.waiting:
            self.progress.waiting(self.activity.waiting)
        # What cannot be written costs those who look, not the run.
        with contextlib.suppress(OSError, RaykdError):
            self.journal.sweep.write_activity(self.activity)

    def silent(self, point: Point) -> str | None:
        """Why a running point is taken to have stalled: no heartbeat for longer than what it does can take."""
        try:
            heartbeat = self.journal.heartbeats.find(point.id)
        except ArtifactError:
            # It was removed while it was read: the point has just ended, or begun again.
            return None
        silence = self.detectors.setdefault(point.id, StallDetector()).silent_for(heartbeat, time.monotonic())
        if silence is None or heartbeat is None:
            return None
        return f"no heartbeat for {silence:.0f} s from {heartbeat.process} ({heartbeat.doing})"

    def retried(self, point: Point, error: str) -> None:
        """A point's process died; it goes on in another one."""
        self.progress.line(f"{point.label}: {self._reason(error)}; retrying")

    def ended(self, points: Sequence[Point]) -> None:
        """A trial came to its end: each of its points is finished, failed with an error of raykd, or was stopped early.

        Raises:
            LeaseLostError: if it ended because another run took over, as this one must.
        """
        self.journal.store.check_fence()
        over = "finished", "failed", "running"
        begun = [point for point in points if self.journal.points.state(point.id).status in over]
        for point in begun or points:
            self._ended(point)
        left = [point for point in points if begun and point not in begun]
        if left:
            self.give_up(left, f"its configuration was given up after {len(begun)} of {counted(len(points), 'seed')}")

    def give_up(self, points: Sequence[Point], why: str) -> None:
        """Points of a configuration are not to run any more."""
        for point in points:
            self.journal.points.end(point.id, "stopped", error=why)
            self.counts["stopped"] += 1
            self.ended_ids.add(point.id)
            self.changed(point.id)
        self.progress.given_up(points, why)

    def _ended(self, point: Point) -> None:
        state = self.journal.points.state(point.id)
        if state.status == "finished":
            result = self.journal.points.result(point.id)
            self._count(point, "finished", result.scores.headline if result else "early")
        elif state.status == "failed":
            self._count(point, "failed", state.error or "")
        elif state.status == "running":
            self.journal.points.end(point.id, "stopped", error="stopped early by ASHA")
            self._count(point, "stopped", "early")
        else:
            self.failed(point, "its trial ended before the point began")

    def failed(self, point: Point, error: str) -> None:
        """A point's trial ended with an error, which the trial recorded unless its process died or the disk is full."""
        state = self.journal.points.state(point.id)
        reason = state.error if state.status == "failed" else None
        if reason is None:
            reason = self._reason(error)
            with contextlib.suppress(OSError):
                self.journal.points.end(point.id, "failed", error=reason)
        self._count(point, "failed", reason)

    def interrupt(self) -> None:
        """Record what runs as interrupted, as far as storage takes it and the points are still this run's."""
        with contextlib.suppress(OSError, RaykdError):
            for point_id in self.points:
                if self.journal.points.state(point_id).status == "running":
                    self.journal.points.end(point_id, "interrupted")
                    self.changed(point_id)

    def _reason(self, error: str) -> str:
        silent = DISK_FULL if is_full(self.journal.store) else "its process was killed, or ran out of memory"
        return reason_in(error) or silent

    def _count(self, point: Point, status: str, detail: str) -> None:
        self.counts[status] += 1
        self.ended_ids.add(point.id)
        self.progress.ended(point, status, detail)
        self.changed(point.id)
