"""The points of a sweep: what each of them is, how far it is, and how it ended."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from raykd.results import version_1
from raykd.results.artifacts import Store
from raykd.results.heartbeat import HeartbeatFiles
from raykd.results.record import VERSION, Record
from raykd.results.settings import Settings
from raykd.tasks.outcomes import Outcomes, Scores

Status = Literal["pending", "running", "interrupted", "finished", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True)
class PointDescription(Record, version=1):
    """What a point is.

    Attributes:
        method: its name in the sweep file.
        label: method and searched values, as progress lines show it.
        varied: searched key -> value, the seed among them.
        base: fingerprint of its generation 0.
        config: the whole configuration, as JSON holds it.
        suggested: the values that a searcher chose; None where the file names the point.
    """

    id: str
    method: str
    label: str
    varied: Mapping[str, Any]
    base: str
    config: Mapping[str, Any]
    suggested: Mapping[str, Any] | None = None

    @property
    def settings(self) -> Settings:
        """What readers need of the configuration."""
        return Settings(self.config)

    @property
    def configuration(self) -> str:
        """Names the points that differ from this one in nothing but the seed."""
        return json.dumps([self.method, self.varied_but_seed], sort_keys=True)

    @property
    def varied_but_seed(self) -> dict[str, Any]:
        """The searched values, the seed left out: what the points of one configuration share."""
        return {key: value for key, value in self.varied.items() if key != "seed"}


@dataclass(frozen=True)
class PointState(Record, version=1):
    """Where a point stands. Times are seconds since the epoch of the Unix clock.

    Attributes:
        attempts: how often a trial began, or went on with, the point.
        failures: how many of them ended in an error of their own. Who was killed together with its sweep did not fail.
        run: the run of the sweep that the last attempt belongs to.
        deaths: attempts of that run in a row whose process died before the point got on.
        reached: how far the point was when the last attempt began.
    """

    status: Status = "pending"
    attempts: int = 0
    failures: int = 0
    run: int = 0
    deaths: int = 0
    reached: str = ""
    error: str | None = None
    started: float | None = None
    ended: float | None = None


@dataclass(frozen=True)
class GenerationRecord:
    """A finished generation, as its worker hands it over.

    Attributes:
        index: from 1.
        artifact: fingerprint of the student at the end of the generation.
        dev_score: its score on the part of the selection set that is scored after every epoch; None where none was
            taken.
        best_artifact, best_score: the student after its best epoch, where the lineage asked for it and no earlier
            generation had one as good.
        epoch_scores: scores after each of its epochs.
        ended_early: its student had no better score for as many epochs as it may (`training.patience`).
    """

    index: int
    artifact: str
    dev_score: float | None = None
    best_artifact: str | None = None
    best_score: float | None = None
    epoch_scores: tuple[float | None, ...] = ()
    ended_early: bool = False

    @property
    def artifacts(self) -> set[str]:
        """All artifacts that it names."""
        return {self.artifact} | ({self.best_artifact} if self.best_artifact is not None else set())


@dataclass(frozen=True)
class Generations(Record, version=3):
    """The generations of a point that are finished, from the first one on."""

    generations: tuple[GenerationRecord, ...] = ()

    @classmethod
    def upgraded(cls, content: Any) -> Any:
        return content if isinstance(content, Mapping) else version_1.generations(content)


@dataclass(frozen=True, kw_only=True)
class PointResult(Record, version=3):
    """What a finished point came to.

    Attributes:
        point: its id.
        artifact: fingerprint of the model that it delivers.
        base: fingerprint of its generation 0.
        data: what its task says of the data that it was trained on.
        num_windows: examples of an epoch.
        device: `cpu`, or a kind of accelerator, of its `num_workers` workers.
        num_threads: CPU threads of one worker; None where nobody recorded it.
        train_seconds: in steps alone, over all epochs; `seconds` of the attempt that finished it.
    """

    point: str
    artifact: str
    base: str
    scores: Scores
    generations: tuple[GenerationRecord, ...]
    data: Mapping[str, Any]
    num_windows: int
    num_workers: int
    train_seconds: float
    seconds: float
    device: str = "cpu"
    num_threads: int | None = None

    @classmethod
    def upgraded(cls, content: Any) -> Any:
        return version_1.point_result(content) if content.get(VERSION, 1) == 1 else content

    @property
    def budget_size(self) -> int | None:
        """How many items the budget stands for; None where the task did not say."""
        budget = self.data.get("budget")
        return budget.get("size") if isinstance(budget, Mapping) else None

    @property
    def data_sha256(self) -> str | None:
        """Hash of the examples that it was trained on; None where the task did not say."""
        return self.data.get("sha256")


@dataclass(frozen=True)
class PointOutcomes(Record, version=2):
    """What became of every example that a finished point was scored on."""

    outcomes: Outcomes

    @classmethod
    def upgraded(cls, content: Any) -> Any:
        return version_1.outcomes(content)


@dataclass(frozen=True)
class PointFiles:
    """Reads and writes what is recorded of points. A point's files are written by the trial that runs it alone."""

    store: Store

    def ids(self) -> list[str]:
        """Every point that was ever added, sorted."""
        known = self.store.children("points")
        return [point_id for point_id in known if self.store.exists(self._file(point_id, "point.json"))]

    def add(self, description: PointDescription) -> None:
        """Record a point; the same point again changes nothing but its label and method."""
        self.store.write_record(self._file(description.id, "point.json"), description)

    def description(self, point_id: str) -> PointDescription:
        """What `add` recorded.

        Raises:
            ArtifactError: if it is missing or damaged.
        """
        return self.store.read_record(self._file(point_id, "point.json"), PointDescription)

    def find_description(self, point_id: str) -> PointDescription | None:
        """What `add` recorded; None before."""
        return self.store.find_record(self._file(point_id, "point.json"), PointDescription)

    def state(self, point_id: str) -> PointState:
        """Where a point stands."""
        return self.store.find_record(self._file(point_id, "state.json"), PointState) or PointState()

    def is_finished(self, point_id: str) -> bool:
        """Whether it is finished and its result is there; a sweep runs it again where that is gone."""
        return self.state(point_id).status == "finished" and self.result(point_id) is not None

    def start(self, point_id: str, run: int = 0) -> PointState:
        """A trial of a run begins, or goes on with, a point; returns how it stands now."""
        state = self.state(point_id)
        reached = "-".join(
            max(self.store.children(self._file(point_id, folder)), default="") for folder in ("epochs", "checkpoints")
        )
        died = state.status == "running" and (state.run, state.reached) == (run, reached)
        HeartbeatFiles(self.store).forget(point_id)
        begun = replace(
            state,
            status="running",
            attempts=state.attempts + 1,
            run=run,
            deaths=state.deaths + 1 if died else 0,
            reached=reached,
            error=None,
            started=time.time(),
            ended=None,
        )
        self._write_state(point_id, begun)
        return begun

    def end(
        self,
        point_id: str,
        status: Literal["finished", "failed", "stopped", "interrupted"],
        *,
        error: str | None = None,
    ) -> None:
        """A trial is done with a point."""
        state = self.state(point_id)
        failures = state.failures + (status == "failed")
        self._write_state(point_id, replace(state, status=status, failures=failures, error=error, ended=time.time()))

    def forgive(self, point_id: str) -> None:
        """Forget a point's failures: it may be tried as often as one that has none."""
        self._write_state(point_id, replace(self.state(point_id), failures=0))

    def generations(self, point_id: str) -> tuple[GenerationRecord, ...]:
        """The generations that are finished.

        Raises:
            ArtifactError: if their record is damaged.
        """
        found = self.store.find_record(self._file(point_id, "generations.json"), Generations)
        return found.generations if found is not None else ()

    def write_generations(self, point_id: str, generations: tuple[GenerationRecord, ...]) -> None:
        """Record the generations that are finished."""
        self.store.write_record(self._file(point_id, "generations.json"), Generations(generations))

    def result(self, point_id: str) -> PointResult | None:
        """What a finished point came to; None while there is nothing."""
        return self.store.find_record(self._file(point_id, "result.json"), PointResult)

    def write_result(self, result: PointResult) -> None:
        """Record what a finished point came to."""
        self.store.write_record(self._file(result.point, "result.json"), result)

    def outcomes(self, point_id: str) -> Outcomes | None:
        """What became of every example that a finished point was scored on."""
        found = self.store.find_record(self._file(point_id, "outcomes.json"), PointOutcomes)
        return found.outcomes if found is not None else None

    def write_outcomes(self, point_id: str, outcomes: Outcomes) -> None:
        """Record what became of every example; written before the result, which promises it."""
        self.store.write_record(self._file(point_id, "outcomes.json"), PointOutcomes(outcomes))

    def _write_state(self, point_id: str, state: PointState) -> None:
        self.store.write_record(self._file(point_id, "state.json"), state)

    def _file(self, point_id: str, name: str) -> PurePosixPath:
        return self.store.point(point_id) / name
