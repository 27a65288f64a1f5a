"""How one point stands."""

import time
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

from raykd.errors import ArtifactError
from raykd.results.epochs import EpochReport
from raykd.results.find import Named
from raykd.results.heartbeat import HeartbeatRecord
from raykd.results.journal import Journal
from raykd.results.points import PointDescription, PointState, Status

OVER: tuple[Status, ...] = ("finished", "failed", "stopped")
"""States of a point that its run is done with."""


@dataclass(frozen=True)
class PointStatus:
    """One point.

    Attributes:
        state: `running` only while the run that says so is alive, else `interrupted`.
        num_epochs: over the whole lineage.
        epoch: epochs done; None while a process has yet to find out where it goes on.
        share: of the epoch under way, in [0, 1].
        generation: the one under way, or the last one.
        loss, dev_score, examples_per_second, gpu_memory_bytes: of the last epoch done; the memory is the most that rank
            0 held on its GPU so far.
        attempts, failures, started, ended: as `PointState` has them.
        doing: what its process said last that it does.
        seconds: how long it has run, or ran; `seconds_left` is an estimate, None where nothing is known yet.
        score: its main score, once it has a result.
        error: why it failed, or was stopped.
        configuration: the same for points that differ in the seed alone; `budget` is what it trains on.
    """

    id: str
    label: str
    state: Status
    num_epochs: int
    method: str = ""
    epoch: int | None = 0
    share: float = 0.0
    generation: int | None = None
    num_generations: int | None = None
    attempts: int = 0
    failures: int = 0
    started: float | None = None
    ended: float | None = None
    loss: float | None = None
    dev_score: float | None = None
    examples_per_second: float | None = None
    gpu_memory_bytes: int | None = None
    doing: str | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    score: float | None = None
    error: str | None = None
    configuration: str = ""
    budget: Any = None

    @property
    def named(self) -> Named:
        """The point as far as its name goes."""
        return Named(
            id=self.id,
            label=self.label,
            method=self.method,
            status=self.state,
            error=self.error,
            is_finished=self.state == "finished",
            score=self.score,
            configuration=self.configuration,
            budget=self.budget,
        )

    @property
    def done(self) -> float:
        """Epochs behind it, with the share of the one under way; all of them once it is over."""
        return self.num_epochs if self.state in OVER else (self.epoch or 0) + self.share


@dataclass(frozen=True)
class PointReading:
    """A point and what estimates need.

    Attributes:
        state: as recorded.
        pace: seconds of an epoch; None where nothing is known.
        alike: names of groups of points that take about as long an epoch, the most alike first.
        heading: what the main score is called.
    """

    status: PointStatus
    state: PointState
    pace: float | None = None
    alike: tuple[Hashable, ...] = ("all",)
    heading: str = ""


def read_point(journal: Journal, described: PointDescription, state: PointState, run: int | None) -> PointReading:
    """A point whose state was read before all the rest: what that promises is there."""
    settings, recorded = described.settings, journal.points.result(described.id)
    # A result counts from the moment that the state says so, for every reader.
    result = recorded if state.status == "finished" else None
    alike = (described.method, str(described.varied_but_seed)), ("budget", str(settings.budget)), "all"
    status = PointStatus(
        id=described.id,
        label=described.label,
        method=described.method,
        state="interrupted" if state.status == "running" and state.run != run else state.status,
        num_epochs=settings.num_epochs,
        num_generations=settings.num_generations,
        attempts=state.attempts,
        failures=state.failures,
        started=state.started,
        ended=state.ended,
        error=state.error,
        configuration=described.configuration,
        budget=settings.budget,
    )
    if state.status == "finished" and result is None:
        # The next run makes it again.
        return PointReading(replace(status, state="pending"), state, alike=alike)
    position = _position(journal, status, has_result=recorded is not None)
    status = replace(
        position.added_to(status),
        generation=_generation(status, position, settings.epochs_per_generation),
        seconds=max(time.time() - state.started, 0.0) if status.state == "running" and state.started else None,
    )
    if result is None:
        return PointReading(status, state, position.pace, alike)
    status = replace(status, score=result.scores.main_value, seconds=result.seconds)
    pace = result.seconds / max(position.epoch or 0, 1)
    return PointReading(status, state, pace, alike, result.scores.main_heading)


@dataclass(frozen=True)
class _Position:
    """Where a point stands among its epochs.

    Attributes:
        epoch: epochs done; None while its process has yet to find out.
        report: of the last of them.
        heartbeat: the last one, where it is younger than that.
    """

    epoch: int | None
    report: EpochReport | None = None
    heartbeat: HeartbeatRecord | None = None

    def added_to(self, status: PointStatus) -> PointStatus:
        """A status with what report and heartbeat say."""
        if self.heartbeat is not None:
            status = replace(status, share=self.heartbeat.share, doing=self.heartbeat.doing)
        if self.report is not None:
            status = replace(
                status,
                loss=self.report.loss,
                dev_score=self.report.dev_score,
                examples_per_second=self.report.examples_per_second,
                gpu_memory_bytes=self.report.gpu_memory_bytes,
            )
        return replace(status, epoch=self.epoch)

    @property
    def pace(self) -> float | None:
        """Seconds of an epoch, as the last one took them, or as the first one goes on."""
        report, heartbeat = self.report, self.heartbeat
        if report is not None and report.seconds_left:
            return report.seconds_left / (report.num_epochs - report.epoch)
        if report is not None:
            return report.elapsed_seconds / report.epoch
        if heartbeat is not None and heartbeat.seconds_left:
            return heartbeat.seconds_left / (1 - heartbeat.share)
        return None


def _position(journal: Journal, status: PointStatus, *, has_result: bool) -> _Position:
    """Where a point stands among its epochs.

    Reports of an earlier attempt may go beyond where this one went on, so the process itself says where it is.
    """
    reached = journal.epochs.last(status.id)
    if status.state != "running" or has_result:
        return _Position(reached, journal.epochs.find(status.id, reached))
    heartbeat = _heartbeat(journal, status.id)
    told = heartbeat.epoch if heartbeat is not None else None
    if heartbeat is None or told is None:
        return _Position(None if reached else 0, heartbeat=heartbeat)
    following = journal.epochs.find(status.id, told + 1)
    if following is not None and following.written > heartbeat.written:
        return _Position(told + 1, following)
    return _Position(told, journal.epochs.find(status.id, told), heartbeat)


def _heartbeat(journal: Journal, point_id: str) -> HeartbeatRecord | None:
    try:
        return journal.heartbeats.find(point_id)
    except ArtifactError:
        # It was removed while it was read.
        return None


def _generation(status: PointStatus, position: _Position, per_generation: int) -> int | None:
    if status.state != "running" or position.epoch is None or status.num_generations is None:
        return position.report.generation if position.report is not None else None
    return min(position.epoch // per_generation + 1, status.num_generations)
