"""What a tracker is told of a point: read from the journal, the same whoever reads it and however often."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from raykd.config.explain import show
from raykd.results.journal import Journal
from raykd.storage import StoredFile

SWEEP_ID = "tracked.json"
OVER = ("finished", "failed", "stopped", "interrupted")
"""A point in another state will be heard of again in the same run of the sweep."""


@dataclass(frozen=True)
class Epoch:
    """One epoch: its number from 1 over the whole lineage, seconds of the Unix clock, and its numbers by name."""

    number: int
    time: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Run:
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
    status: str
    error: str | None
    time: float
    final: Mapping[str, float]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come in this run of the sweep."""
        return self.status in OVER


@dataclass(frozen=True)
class Ledger:
    """Reads the runs of a sweep, and remembers what each tracker was told, beside the points in the journal.

    Attributes:
        described: `sweep.json`.
        sweep: a name for this folder of results that no other one has: the sweep's, and letters drawn once.
    """

    journal: Journal
    described: Mapping[str, Any]
    sweep: str

    @classmethod
    def begin(cls, journal: Journal) -> "Ledger":
        """That of a folder, which gets its name the first time."""
        described, recorded = journal.sweep(), journal.store.find_json(SWEEP_ID)
        if recorded is None:
            recorded = {"id": f"{described['name']}-{uuid.uuid4().hex[:8]}"}
            journal.store.write_json(SWEEP_ID, recorded)
        return cls(journal, described, recorded["id"])

    def standing(self, point_id: str) -> dict[str, Any]:
        """How much there is to tell of a point: what was told at an equal standing is all there is."""
        state = self.journal.state(point_id)
        return {"status": state.status, "attempts": state.attempts, "epochs": len(self._epoch_files(point_id))}

    def told(self, tracker: str, point_id: str) -> dict[str, Any]:
        """What `tell` recorded; empty before."""
        return self.journal.store.find_json(self._file(tracker, point_id)) or {}

    def tell(self, tracker: str, point_id: str, standing: Mapping[str, Any]) -> None:
        """Record that a tracker has all that there was at a standing."""
        self.journal.store.write_json(self._file(tracker, point_id), standing)

    def run(self, point_id: str) -> Run:
        """All that there is to tell of a point now.

        Raises:
            ArtifactError: if a record is missing or damaged.
        """
        journal = self.journal
        # The state first: it promises a result, and never more epochs than are read after it.
        state, point = journal.state(point_id), journal.point(point_id)
        times = {int(name.removesuffix(".json")): file.changed for name, file in self._epoch_files(point_id).items()}
        reports = {report["epoch"]: report for report in journal.epochs(point_id)}
        result = journal.result(point_id) if state.status == "finished" else None
        last = max(times, default=0)
        return Run(
            point=point_id,
            sweep=self.sweep,
            group=self.described["name"],
            method=point["method"],
            label=point["label"],
            params=_params(point["config"]),
            tags={
                "raykd.sweep": self.sweep,
                "raykd.point": point_id,
                "raykd.method": point["method"],
                "raykd.label": point["label"],
                "raykd.task": point["config"]["task"],
                "raykd.base": point["base"],
                "raykd.generation": str(reports[last]["generation"]) if last in reports else "0",
                **{f"version.{name}": version for name, version in self.described["versions"].items()},
            },
            epochs=tuple(
                Epoch(
                    number,
                    times[number],
                    dict(_numbers(_without_epoch(reports[number]))),
                )
                for number in sorted(times)
                if number in reports
            ),
            status=state.status,
            error=state.error,
            time=state.ended or state.started or 0.0,
            final={f"final/{name}": value for name, value in _final(result)} if result else {},
        )

    def _epoch_files(self, point_id: str) -> dict[str, StoredFile]:
        store = self.journal.store
        found = store.files(store.point(point_id) / "epochs")
        return {name: file for name, file in found.items() if not name.startswith(".")}

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


def _final(result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield from _numbers(result["scores"])
    yield from _numbers({name: result[name] for name in ("seconds", "train_seconds") if name in result})
