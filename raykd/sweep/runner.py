"""One run of a sweep: what is due, what it needs, and what became of it."""

import contextlib
import importlib.metadata
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

import raykd
from raykd.capacity import DRIVER_CPUS, Capacity, check_storage, connect, disk_is_full
from raykd.config.point import PointConfig
from raykd.errors import CapacityError, DataError, TrainingError
from raykd.generation import DISK_FULL, Place, plain_reason, prepare_in_group, prepare_inline, reason_in
from raykd.journal import Journal, headline
from raykd.plan import Plan, Point, base_fingerprint, typical_points
from raykd.sweep.searcher import METRIC, early_stopping, history, point_of_suggestion, tpe
from raykd.sweep.trial import PointTrial, group_trial, point_description


class Progress:
    """What a sweep tells whoever watches; the command line draws it, by default nothing is said."""

    def line(self, text: str) -> None:
        """Something happened."""

    def epoch(self, point: Point, report: Mapping[str, Any]) -> None:
        """A point did an epoch."""

    def ended(self, point: Point, status: str, detail: str) -> None:
        """A point is done."""


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended: points by what became of them; `missing` ones were due and did not run."""

    finished: int
    failed: int
    stopped: int
    skipped: int
    missing: int


def run_sweep(
    plan: Plan,
    *,
    root: Path,
    folder: Path,
    progress: Progress,
    data: Mapping[str, str],
    fail_fast: bool = False,
    verbose: bool = False,
) -> Outcome:
    """Run what is not finished yet.

    Args:
        root: folder of the results, on storage that every node sees.
        folder: the sweep file's folder.
        data: data set -> its hash; a set that changed since the folder was begun is refused.
        fail_fast: stop at the first failure; what was running goes on with the next run.
        verbose: show what workers print.

    Raises:
        CapacityError: if a point can never fit, or the disk is too full to begin.
        DataError: if data changed.
    """
    journal = Journal.at(root)
    check_storage(root)
    data = _unchanged(journal, data)
    connect(needs_state_api=plan.sweep.search.scheduler is not None, verbose=verbose)
    capacity = Capacity.of_cluster()
    place = Place(root.resolve(), folder.resolve())
    runner = _Runner(plan, journal, place, capacity, progress, fail_fast)
    runner.check()
    journal.write_sweep({**_description(plan), "data": data})
    runner.add_points()
    runner.prepare()
    runner.run()
    shutil.rmtree(root / ".ray", ignore_errors=True)
    return runner.outcome()


class _Runner:
    """One run of a sweep: the points that are left, and what happened to them."""

    def __init__(
        self, plan: Plan, journal: Journal, place: Place, capacity: Capacity, progress: Progress, fail_fast: bool
    ) -> None:
        self.plan, self.sweep, self.journal, self.place = plan, plan.sweep, journal, place
        self.capacity, self.progress, self.fail_fast = capacity, progress, fail_fast
        self.points: dict[str, Point] = {}
        self.left: list[Point] = []
        self.due = self.skipped = 0
        self.counts: dict[str, int] = {}

    def check(self) -> None:
        """Refuse what can never run, all of it at once."""
        problems = []
        for point in self.plan.points:
            try:
                self.capacity.concurrency(point.config, self.capacity.worker(point.config, wanted=1))
            except CapacityError as error:
                problems += [f"{point.label}: {line}" for line in error.problems]
        if problems:
            shown = problems[:5] + ([f"and {len(problems) - 5} more points"] if len(problems) > 5 else [])
            raise CapacityError(shown)

    def add_points(self) -> None:
        """Record all points, and leave out those that are done. A searcher's points are recorded as it draws them."""
        if not self.plan.is_exact:
            self.due = max(0, self.sweep.search.num_points - len(history(self.journal)))
            self.skipped = self.sweep.search.num_points - self.due
            return
        for point in self.plan.points:
            self.add(point)
            status = self.journal.state(point.id).status
            if status != "stopped" and (status != "finished" or self.journal.result(point.id) is None):
                self.left.append(point)
        self.due, self.skipped = len(self.left), len(self.plan.points) - len(self.left)

    def outcome(self) -> Outcome:
        """What became of the points."""
        counts = {"finished": 0, "failed": 0, "stopped": 0, **self.counts}
        return Outcome(**counts, skipped=self.skipped, missing=max(0, self.due - sum(counts.values())))

    def add(self, point: Point, *, suggested: Mapping[str, Any] | None = None) -> None:
        """Record a point in the journal, with the values that a searcher chose."""
        self.points[point.id] = point
        self.journal.add(point.id, {**point_description(point), "suggested": suggested})

    def prepare(self) -> None:
        """Base teachers, their scores and their signals, for the points that are left."""
        groups: dict[str, list[PointConfig]] = {}
        wanted = self.left if self.plan.is_exact else typical_points(self.sweep)
        for point in wanted:
            groups.setdefault(base_fingerprint(point.config), []).append(point.config)
        for base, configs in groups.items():
            worker = self.capacity.worker(configs[0], wanted=1)
            run = prepare_inline if configs[0].compute.resolved_executor == "inline" else prepare_in_group
            for line in run(self.place, base, configs, resources=worker):
                self.progress.line(line)

    def run(self) -> None:
        """Run the points that are left: first those inside trial processes, then those with worker groups."""
        if not self.plan.is_exact:
            if self.due:
                self._tune(self.due, None)
            return
        for executor in ("inline", "train"):
            points = [point for point in self.left if point.config.compute.resolved_executor == executor]
            kinds: dict[tuple, list[Point]] = {}
            for point in points:
                compute = point.config.compute
                kinds.setdefault((compute.num_workers, compute.cpus_per_worker, compute.gpus_per_worker), []).append(
                    point
                )
            for group in kinds.values():
                if not (self.fail_fast and self.counts.get("failed")):
                    self._tune(len(group), group)

    def _tune(self, count: int, points: Sequence[Point] | None) -> None:
        example = (points or typical_points(self.sweep))[0].config
        most = min(count, self.sweep.search.max_concurrent or count)
        worker = self.capacity.worker(example, wanted=most)
        concurrent = min(most, self.capacity.concurrency(example, worker))
        inline = example.compute.resolved_executor == "inline"
        shared = {"place": self.place, "resources": worker, "sweep": None if points else self.sweep}
        trainable: Any = tune.with_parameters(PointTrial if inline else group_trial, **shared)
        needs = {"CPU": worker.cpus, "GPU": worker.gpus} if inline else {"CPU": DRIVER_CPUS}
        self.progress.line(
            f"{count} point(s), {concurrent} at a time, {worker.cpus:g} CPU(s) and {worker.gpus:g} GPU(s) a worker"
        )
        needs_metric = self.sweep.search.scheduler is not None or not self.plan.is_exact
        space = {"point": tune.grid_search([point_description(point) for point in points])} if points else {}
        tuner = tune.Tuner(
            tune.with_resources(trainable, needs),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric=METRIC if needs_metric else None,
                mode="max" if needs_metric else None,
                num_samples=count if not points else 1,
                max_concurrent_trials=concurrent,
                reuse_actors=inline,
                scheduler=early_stopping(self.sweep, [point.config for point in points or typical_points(self.sweep)]),
                search_alg=None if points else tpe(self.sweep, history(self.journal)),
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=f"tune-{time.time_ns()}",
                storage_path=str(self.place.root / ".ray"),
                callbacks=[_Watch(self)],
                verbose=0,
                failure_config=tune.FailureConfig(fail_fast=self.fail_fast),
            ),
        )
        try:
            tuner.fit()
        except (tune.TuneError, OSError, EOFError) as error:
            reason = DISK_FULL if disk_is_full(self.place.root) else plain_reason(error)
            raise TrainingError(reason) from error

    def finished(self, point: Point) -> None:
        """A point's trial ended well: it is finished, or was stopped early."""
        status = self.journal.state(point.id).status
        if status != "finished":
            status = "stopped"
            self.journal.end(point.id, "stopped", error="stopped early by ASHA")
        self.counts[status] = self.counts.get(status, 0) + 1
        result = self.journal.result(point.id)
        detail = headline(result["scores"]) if result else "early"
        self.progress.ended(point, status, detail)

    def failed(self, point: Point, error: str) -> None:
        """A point's trial ended with an error, which the trial recorded unless its process died or the disk is full."""
        self.counts["failed"] = self.counts.get("failed", 0) + 1
        state = self.journal.state(point.id)
        reason = state.error if state.status == "failed" else None
        if reason is None:
            silent = DISK_FULL if disk_is_full(self.place.root) else "its process was killed, or ran out of memory"
            reason = reason_in(error) or silent
            with contextlib.suppress(OSError):
                self.journal.end(point.id, "failed", error=reason)
        self.progress.ended(point, "failed", reason)


class _Watch(tune.Callback):
    """Hears of trials inside the sweep's own process."""

    def __init__(self, runner: _Runner) -> None:
        self.runner = runner

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its callbacks into its own restore file, which raykd never reads: the journal is the truth.
        return {}

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        if "num_epochs" in result:
            self.runner.progress.epoch(self._point(trial, result), result)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.runner.finished(self._point(trial, trial.last_result))

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.runner.failed(self._point(trial, trial.last_result), trial.get_error() or "")

    def _point(self, trial: Any, result: Mapping[str, Any]) -> Point:
        if "point" in trial.config:
            return self.runner.points[trial.config["point"]["id"]]
        point = point_of_suggestion(self.runner.sweep, trial.config)
        if point.id not in self.runner.points:
            self.runner.add(point, suggested=dict(trial.config))
        return point


def _unchanged(journal: Journal, data: Mapping[str, str]) -> dict[str, str]:
    """The hashes of all data sets that this folder's points were made from."""
    recorded = journal.sweep().get("data", {}) if journal.has_sweep() else {}
    changed = [name for name, digest in data.items() if recorded.get(name, digest) != digest]
    if changed:
        raise DataError(
            f"{name}: changed since {journal.store.root} was begun; put it back, or give the sweep another storage"
            for name in changed
        )
    return {**recorded, **data}


def _description(plan: Plan) -> dict[str, Any]:
    packages = ("ray", "torch", "transformers", "deepspeed", "datasets")
    return {
        "name": plan.sweep.name,
        "config": plan.sweep.model_dump(mode="json"),
        "points": [point.id for point in plan.points] if plan.is_exact else [],
        "versions": {"raykd": raykd.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "started": time.time(),
    }
