"""What a tracker is told of a point: read from the journal, the same whoever reads it and however often."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from raykd.config.explain import show
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.points import PointResult, Status
from raykd.results.record import Record
from raykd.results.sweep import SweepDescription

SWEEP_ID = "tracked.json"
OVER: tuple[Status, ...] = ("finished", "failed", "stopped", "interrupted")
"""A point in another state will be heard of again in the same run of the sweep."""


@dataclass(frozen=True)
class Epoch:
    """One epoch: its number from 1 over the whole lineage, seconds of the Unix clock, and its numbers by name."""

    number: int
    time: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class TrackedPoint:
    """One point.

    Attributes:
        sweep: a name that only this folder of results has.
        group: the sweep's name in its file.
        label: method and searched values.
        params: every key that its task has and that is set.
        tags: what it belongs to and what made it.
        status, error: where it stands, and why it failed.
        time: when it began or ended last, in seconds of the Unix clock.
        final: scores and cost by name, of a finished point alone.
    """

    point: str
    sweep: str
    group: str
    method: str
    label: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    epochs: tuple[Epoch, ...]
    status: Status
    error: str | None
    time: float
    final: Mapping[str, float]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come in this run of the sweep."""
        return self.status in OVER


@dataclass(frozen=True)
class TrackedSweep(Record, version=1):
    """The name of a folder of results on trackers: the sweep's, and letters drawn once."""

    id: str


@dataclass(frozen=True, kw_only=True)
class Standing(Record, version=1):
    """How much there was to tell of a point when a tracker whose runs are at a place had been told all of it."""

    place: str
    status: Status
    attempts: int
    epochs: int


@dataclass(frozen=True)
class Ledger:
    """Reads the runs of a sweep, and remembers what each tracker was told, beside the points in the journal.

    Attributes:
        described: what the sweep runs.
        sweep: a name for this folder of results that no other one has: the sweep's, and letters drawn once.
    """

    journal: Journal
    described: SweepDescription
    sweep: str

    @classmethod
    def begin(cls, journal: Journal) -> "Ledger":
        """That of a folder, which gets its name the first time."""
        described, recorded = journal.sweep.read(), journal.store.find_record(SWEEP_ID, TrackedSweep)
        if recorded is None:
            recorded = TrackedSweep(f"{described.name}-{uuid.uuid4().hex[:8]}")
            journal.store.write_record(SWEEP_ID, recorded)
        return cls(journal, described, recorded.id)

    def standing(self, point_id: str, *, place: str) -> Standing:
        """How much there is to tell of a point: what was told at an equal standing is all there is.

        Args:
            place: where a tracker's runs are.
        """
        state = self.journal.points.state(point_id)
        num_epochs = len(self.journal.epochs.written(point_id))
        return Standing(place=place, status=state.status, attempts=state.attempts, epochs=num_epochs)

    def told(self, tracker: str, point_id: str) -> Standing | None:
        """What `tell` recorded; None before."""
        return self.journal.store.find_record(self._file(tracker, point_id), Standing)

    def tell(self, tracker: str, point_id: str, standing: Standing) -> None:
        """Record that a tracker has all that there was at a standing."""
        self.journal.store.write_record(self._file(tracker, point_id), standing)

    def run(self, point_id: str) -> TrackedPoint:
        """All that there is to tell of a point now.

        Raises:
            ArtifactError: if a record is missing or damaged.
        """
        journal = self.journal
        # The state first: it promises a result, and never more epochs than are read after it.
        state, point = journal.points.state(point_id), journal.points.description(point_id)
        times = journal.epochs.written(point_id)
        reports = {report.epoch: report for report in journal.epochs.of(point_id)}
        result = journal.points.result(point_id) if state.status == "finished" else None
        last = max(times, default=0)
        return TrackedPoint(
            point=point_id,
            sweep=self.sweep,
            group=self.described.name,
            method=point.method,
            label=point.label,
            params=_params(point.config),
            tags={
                "raykd.sweep": self.sweep,
                "raykd.point": point_id,
                "raykd.method": point.method,
                "raykd.label": point.label,
                "raykd.task": point.settings.task,
                "raykd.base": point.base,
                "raykd.generation": str(reports[last].generation) if last in reports else "0",
                **{f"version.{name}": version for name, version in self.described.versions.items()},
            },
            epochs=tuple(
                Epoch(number, times[number], _measured(reports[number]))
                for number in sorted(times)
                if number in reports
            ),
            status=state.status,
            error=state.error,
            time=state.ended or state.started or 0.0,
            final={f"final/{name}": value for name, value in _final(result)} if result else {},
        )

    def _file(self, tracker: str, point_id: str) -> PurePosixPath:
        return self.journal.store.point(point_id) / "tracked" / f"{tracker}.json"


def _params(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of all that is set."""
    return dict(_leaves(config))


def _without_epoch(report: Mapping[str, Any]) -> dict[str, Any]:
    """An epoch's report without its number, which is the place of its numbers in a curve."""
    return {key: value for key, value in report.items() if key != "epoch"}


def _leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, show(value) if isinstance(value, list) else value


def _numbers(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """`section/name` -> value of all numbers, without counts, which are no measurements."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and not name.startswith("num_"):
            yield prefix + name, float(value)


def _measured(report: EpochReport) -> dict[str, float]:
    """What an epoch measured; its number is that of the step, not of a curve."""
    return {name: value for name, value in _numbers(report.measurements()) if name != "epoch"}


def _final(result: PointResult) -> Iterator[tuple[str, float]]:
    scores = result.scores
    yield from _numbers(scores.values)
    yield from _numbers({"cells": scores.cells, "probes": scores.probes, "watched": scores.watched})
    yield from _numbers({"seconds": result.seconds, "train_seconds": result.train_seconds})
