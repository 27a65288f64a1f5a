"""How one point stands."""

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from raykd.errors import ArtifactError
from raykd.results.journal import Journal, PointState, Status

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
    """

    id: str
    label: str
    state: Status
    num_epochs: int
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


def epochs_of(config: Mapping[str, Any]) -> int:
    """Epochs of the whole lineage of a configuration."""
    return config["lineage"]["num_generations"] * config["lineage"]["epochs_per_generation"]


def read_point(journal: Journal, described: Mapping[str, Any], state: PointState, run: int | None) -> PointReading:
    """A point whose state was read before all the rest: what that promises is there."""
    config, result = described["config"], journal.result(described["id"])
    varied = {key: value for key, value in described["varied"].items() if key != "seed"}
    alike = (described["method"], str(varied)), ("budget", str(config["data"]["budget"])), "all"
    status = PointStatus(
        id=described["id"],
        label=described["label"],
        state="interrupted" if state.status == "running" and state.run != run else state.status,
        num_epochs=epochs_of(config),
        num_generations=config["lineage"]["num_generations"],
        attempts=state.attempts,
        failures=state.failures,
        started=state.started,
        ended=state.ended,
        error=state.error,
    )
    if state.status == "finished" and result is None:
        # The next run makes it again.
        return PointReading(replace(status, state="pending"), state, alike=alike)
    epoch, report, pulse = _position(journal, status, has_result=result is not None)
    status = replace(
        status,
        epoch=epoch,
        share=pulse.get("share", 0.0),
        doing=pulse.get("doing"),
        generation=_generation(status, epoch, report, config["lineage"]["epochs_per_generation"]),
        **{key: report.get(key) for key in ("loss", "dev_score", "examples_per_second", "gpu_memory_bytes")},
        seconds=max(time.time() - state.started, 0.0) if status.state == "running" else None,
    )
    if result is None:
        return PointReading(status, state, _pace(status, report, pulse), alike)
    scores, seconds = result["scores"], result["seconds"]
    status = replace(status, score=scores[scores["main"]], seconds=seconds)
    return PointReading(
        status, state, seconds / max(epoch, 1), alike, scores["columns"].get(scores["main"], scores["main"])
    )


def _position(
    journal: Journal, status: PointStatus, *, has_result: bool
) -> tuple[int | None, Mapping[str, Any], Mapping[str, Any]]:
    """Epochs done, the report of the last of them, and a sign of life that is younger than it; empty where none is.

    Reports of an earlier attempt may go beyond where this one went on, so the process itself says where it is.
    """
    reached = journal.last_epoch(status.id)
    if status.state != "running" or has_result:
        return reached, journal.epoch(status.id, reached) or {}, {}
    pulse = _pulse(journal, status.id)
    told = pulse.get("epoch")
    if told is None:
        return None if reached else 0, {}, pulse
    following = journal.epoch(status.id, told + 1)
    if following is not None and following.get("written", 0) > pulse["written"]:
        return told + 1, following, {}
    return told, journal.epoch(status.id, told) or {}, pulse


def _pulse(journal: Journal, point_id: str) -> Mapping[str, Any]:
    try:
        return journal.pulse(point_id) or {}
    except ArtifactError:
        # It was removed while it was read.
        return {}


def _generation(status: PointStatus, epoch: int | None, report: Mapping[str, Any], per_generation: int) -> int | None:
    if status.state != "running" or epoch is None:
        return report.get("generation")
    return min(epoch // per_generation + 1, status.num_generations)


def _pace(status: PointStatus, report: Mapping[str, Any], pulse: Mapping[str, Any]) -> float | None:
    """Seconds of an epoch, as the last one took them, or as the first one goes on."""
    if report.get("seconds_left"):
        return report["seconds_left"] / (report["num_epochs"] - report["epoch"])
    if report:
        return report["elapsed_seconds"] / report["epoch"]
    if pulse.get("seconds_left"):
        return pulse["seconds_left"] / (1 - pulse["share"])
    return None
