"""The sweep's own ledger: which points there are, how far each is, and how it ended."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from raykd.errors import ConfigError
from raykd.results.artifacts import Store

SWEEP = "sweep.json"
PULSE = "pulse.json"
OUTCOMES = "outcomes.json"
ACTIVITY = "activity.json"
Status = Literal["pending", "running", "interrupted", "finished", "failed", "stopped"]


def headline(scores: Mapping[str, Any]) -> str:
    """The first two of the scores that a task names `columns`, in words."""
    found = [(heading, scores[name]) for name, heading in scores["columns"].items() if scores[name] is not None]
    return ", ".join(f"{heading} {value:.1f}" for heading, value in found[:2])


@dataclass(frozen=True)
class PointState:
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
class Journal:
    """Reads and writes the ledger under a store. A point's files are written by the trial that runs it alone."""

    store: Store

    @classmethod
    def at(cls, root: Path | str) -> "Journal":
        """The ledger of a place of results, a folder or a URL."""
        return cls(Store(root))

    def write_sweep(self, description: Mapping[str, Any]) -> None:
        """Record what is run: the resolved file, versions, data."""
        self.store.write_json(SWEEP, description)

    def has_sweep(self) -> bool:
        """Whether `write_sweep` was ever called here."""
        return self.store.exists(SWEEP)

    def current_point_ids(self) -> list[str]:
        """The points of the sweep as it was run last; all that were ever added where a searcher chooses them."""
        wanted = set(self.sweep()["points"])
        return [point_id for point_id in self.point_ids() if not wanted or point_id in wanted]

    def sweep(self) -> dict[str, Any]:
        """What `write_sweep` recorded.

        Raises:
            ConfigError: if the place holds no sweep.
        """
        found = self.store.find_json(SWEEP)
        if found is None:
            root = self.store.root
            raise ConfigError(f"{root}: no sweep was run here, there is no {SWEEP}; name the place of its results")
        return found

    def activity(self) -> dict[str, Any] | None:
        """What `write_activity` recorded last; None before."""
        return self.store.find_json(ACTIVITY)

    def write_activity(self, activity: Mapping[str, Any]) -> None:
        """Record what a run does beside its points, which tell of themselves.

        Args:
            activity: `run`, its number; `doing`, what it makes for all points, or None; `at_once`, how many points it
                runs at a time, or None; `waiting`, a reason for each thing that it needs and has not got.
        """
        self.store.write_json(ACTIVITY, activity)

    def add(self, point_id: str, description: Mapping[str, Any]) -> None:
        """Record a point's configuration; the same point again changes nothing but its label and method."""
        self.store.write_json(self._file(point_id, "point.json"), description)

    def point(self, point_id: str) -> dict[str, Any]:
        """What `add` recorded."""
        return self.store.read_json(self._file(point_id, "point.json"))

    def find_point(self, point_id: str) -> dict[str, Any] | None:
        """What `add` recorded; None before."""
        return self.store.find_json(self._file(point_id, "point.json"))

    def point_ids(self) -> list[str]:
        """Every point that was ever added, sorted."""
        known = self.store.children("points")
        return [point_id for point_id in known if self.store.exists(self._file(point_id, "point.json"))]

    def state(self, point_id: str) -> PointState:
        """Where a point stands."""
        return PointState(**(self.store.find_json(self._file(point_id, "state.json")) or {}))

    def start(self, point_id: str, run: int = 0) -> PointState:
        """A trial of a run begins, or goes on with, a point; returns how it stands now."""
        state = self.state(point_id)
        reached = "-".join(
            max(self.store.children(self._file(point_id, folder)), default="") for folder in ("epochs", "checkpoints")
        )
        died = state.status == "running" and (state.run, state.reached) == (run, reached)
        self.forget_pulse(point_id)
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
        self._write(point_id, begun)
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
        self._write(point_id, replace(state, status=status, failures=failures, error=error, ended=time.time()))

    def forgive(self, point_id: str) -> None:
        """Forget a point's failures: it may be tried as often as a new one."""
        self._write(point_id, replace(self.state(point_id), failures=0))

    def result(self, point_id: str) -> dict[str, Any] | None:
        """The record of a finished point: scores, generations, cost; None while there is none."""
        return self.store.find_json(self._file(point_id, "result.json"))

    def write_result(self, point_id: str, result: Mapping[str, Any]) -> None:
        """Write the record of a finished point."""
        self.store.write_json(self._file(point_id, "result.json"), result)

    def outcomes(self, point_id: str) -> dict[str, Any] | None:
        """What became of every example that a finished point was scored on, see `write_outcomes`."""
        return self.store.find_json(self._file(point_id, OUTCOMES))

    def write_outcomes(self, point_id: str, outcomes: Mapping[str, Any]) -> None:
        """Record what became of every example; written before the result.

        Args:
            outcomes: `statistic`, how a cell's score comes out of its examples: `mean` (of numbers in percent) or `f1`
                (micro F1 of [true positives, predicted, gold] counts); `unit`, what an example is called; `cells`, cell
                -> {`items`: hash of its items in order, `values`: one entry for each example}; `items`, that hash ->
                keys of the items, between spaces, the same key in all cells that ask for the same thing; `scores`,
                score -> the cells that it is the mean of.
        """
        self.store.write_json(self._file(point_id, OUTCOMES), outcomes)

    def base_scores(self) -> list[dict[str, Any]]:
        """Every generation 0 that was scored: `base`, `model`, `scores`, and `outcomes` as above, None without them."""
        found = [self.store.read_json(f"scores/{name}") for name in self.store.children("scores")]
        return [
            {"base": each["base"], "model": each["model"], "scores": each["final"], "outcomes": each.get("outcomes")}
            for each in found
        ]

    def epochs(self, point_id: str) -> Iterator[dict[str, Any]]:
        """The reports of a point's epochs, in order."""
        for name in self.store.children(self._file(point_id, "epochs")):
            yield self.store.read_json(self._file(point_id, "epochs") / name)

    def last_epoch(self, point_id: str) -> int:
        """The highest number of an epoch that was reported; 0 before the first."""
        return int(max(self.store.children(self._file(point_id, "epochs")), default="0").partition(".")[0])

    def epoch(self, point_id: str, epoch: int) -> dict[str, Any] | None:
        """The report of one epoch, None where there is none."""
        return self.store.find_json(self._file(point_id, "epochs") / _epoch_file(epoch))

    def write_epoch(self, point_id: str, epoch: int, report: Mapping[str, Any]) -> None:
        """Record one epoch, counted from 1 over the whole lineage; a repeated epoch replaces its report."""
        self.store.write_json(self._file(point_id, "epochs") / _epoch_file(epoch), report)

    def pulse(self, point_id: str) -> dict[str, Any] | None:
        """The last sign of life of a point that runs, or ran."""
        return self.store.find_json(self._file(point_id, PULSE))

    def forget_pulse(self, point_id: str) -> None:
        """A new process will give signs of life: those of an earlier one say nothing about it."""
        self.store.remove(self._file(point_id, PULSE))

    def write_pulse(self, point_id: str, record: Mapping[str, Any]) -> None:
        """Record a sign of life."""
        self.store.write_json(self._file(point_id, PULSE), record)

    def _write(self, point_id: str, state: PointState) -> None:
        self.store.write_json(self._file(point_id, "state.json"), asdict(state))

    def _file(self, point_id: str, name: str) -> PurePosixPath:
        return self.store.point(point_id) / name


def _epoch_file(epoch: int) -> str:
    return f"{epoch:04d}.json"
