"""One run of a sweep: what is due, what it needs, and what became of it."""

import contextlib
import importlib.metadata
import logging
import os
import platform
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray import tune

import raykd
from raykd.errors import TrainingError
from raykd.executors.capacity import Capacity, check_storage, check_storage_of_nodes, connect
from raykd.executors.choice import EXECUTORS, executor_of
from raykd.executors.executor import Place
from raykd.executors.waiting import reap_all, reap_orphans
from raykd.plan.changes import refuse_changed
from raykd.plan.points import Plan, Point, typical_points
from raykd.reasons import DISK_FULL, plain_reason
from raykd.results.artifacts import Store
from raykd.results.configurations import by_configuration
from raykd.results.journal import Journal
from raykd.results.lease import Lease
from raykd.results.records import PointRecord, read_point
from raykd.results.sweep import SweepDescription
from raykd.results.words import counted
from raykd.storage import is_full, resolved
from raykd.sweep.provenance import commit, hardware
from raykd.sweep.recorder import Progress, RunRecorder
from raykd.sweep.searcher import METRIC, early_stopping, history, tpe
from raykd.sweep.trial import PointTrial, Shared
from raykd.sweep.watch import Watch
from raykd.trackers import Trackers, check_trackers


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended: points by what became of them.

    Attributes:
        given_up: points that had failed too often before.
        missing: points that were due and did not run.
    """

    finished: int
    failed: int
    stopped: int
    skipped: int
    given_up: int
    missing: int


def run_sweep(
    plan: Plan,
    *,
    root: Path | str,
    folder: Path,
    progress: Progress,
    data: Mapping[str, str],
    fail_fast: bool = False,
    retry_failed: bool = False,
    verbose: bool = False,
) -> Outcome:
    """Run what is not finished yet.

    Args:
        root: folder or URL of the results, on storage that every node sees.
        folder: the sweep file's folder.
        data: data set -> its hash; a set that changed since the folder was begun is refused.
        fail_fast: stop at the first failure; what was running goes on with the next run.
        retry_failed: try points again that were given up.
        verbose: show what workers print.

    Raises:
        LeaseHeldError: if another run of this folder is alive.
        ConfigError: if points mean something else than under the file that the folder was begun with, or a tracker
            cannot be used.
        DataError: if data changed.
        CapacityError: if a point can never fit, or the disk is too full to begin.
        StallError: if the run waits for what the cluster cannot give, or a worker has stopped moving.
        KeyboardInterrupt: at SIGINT and SIGTERM, with everything recorded that the next run needs. A thread other than
            the main one gets neither.
    """
    if not verbose:
        # Tune draws tables, and logs a failed trial's traceback; raykd says the reason in a line.
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    journal = Journal.at(root)
    check_trackers(plan.sweep.trackers)
    check_storage(journal.store)
    # Workers use it from folders of their own.
    with Lease.take(Store(resolved(root)), say=progress.line) as lease:
        refuse_changed(plan, journal)
        data = journal.sweep.unchanged(data)
        connect(verbose=verbose)
        reap_orphans()
        check_storage_of_nodes(journal.store)
        capacity = Capacity.of_cluster()
        journal = Journal(lease.fenced_store())
        place = Place(journal.store, folder.resolve(), run=lease.number)
        trackers = Trackers(plan.sweep, journal, say=progress.line)
        runner = _Runner(plan, journal, place, capacity, progress, fail_fast, trackers)
        runner.check()
        journal.sweep.write(_description(plan, folder, data=data))
        with trackers, _interruptible(runner.recorder):
            runner.add_points(retry_failed=retry_failed)
            runner.prepare()
            runner.run()
        shutil.rmtree(journal.store.scratch.of_ray(), ignore_errors=True)
    return runner.outcome()


@contextlib.contextmanager
def _interruptible(recorder: RunRecorder) -> Iterator[None]:
    """Ends at SIGTERM as at SIGINT. `ray job stop` leaves three seconds: what runs is recorded first, then Ray ends."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    # Ray has handlers of its own since it was started, and Tune would wait for its trials.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    # Signals reach the main thread alone; whoever calls from another one must see to them.
    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    except BaseException:
        recorder.interrupt()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Runner:
    """One run of a sweep: the points that are left, and what happened to them."""

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        place: Place,
        capacity: Capacity,
        progress: Progress,
        fail_fast: bool,
        trackers: Trackers,
    ) -> None:
        self.plan, self.sweep, self.journal, self.place = plan, plan.sweep, journal, place
        self.capacity, self.progress, self.fail_fast = capacity, progress, fail_fast
        self.recorder = RunRecorder(plan.sweep, journal, progress, run=place.run, changed=trackers.changed)
        self.left: list[Point] = []
        self.due = self.skipped = self.given_up = self.suggestions = 0

    def check(self) -> None:
        """Refuse what can never run, all of it at once."""
        self.capacity.refuse_what_never_fits((point.label, point.config) for point in self.plan.points)

    def add_points(self, *, retry_failed: bool) -> None:
        """Record all points, and leave out those that are done or failed too often. A searcher's points are recorded as
        it draws them."""
        if not self.plan.is_exact:
            wanted = self.sweep.search.num_points
            assert wanted is not None, "a searcher has a number of points"
            seeds, tried = len(self.sweep.seeds or (None,)), len(history(self.journal))
            self.suggestions = max(0, wanted - tried)
            self.due, self.skipped = self.suggestions * seeds, min(tried, wanted) * seeds
            return
        for point in self.plan.points:
            self.recorder.add(point)
            recorded = read_point(self.journal, point.id)
            state = recorded.state
            if retry_failed and state.failures:
                self.journal.points.forgive(point.id)
            elif state.failures >= self.sweep.search.max_attempts and state.status == "failed":
                self.given_up += 1
                continue
            # A race decides again whether what it stopped goes on.
            over = ("finished",) if self.sweep.search.algorithm == "race" else ("finished", "stopped")
            if recorded.status not in over:
                self.left.append(point)
        self.due, self.skipped = len(self.left), len(self.plan.points) - len(self.left) - self.given_up

    def outcome(self) -> Outcome:
        """What became of the points."""
        counts = self.recorder.counts
        missing = max(0, self.due - counts.total())
        ended = {status: counts[status] for status in ("finished", "failed", "stopped")}
        return Outcome(**ended, skipped=self.skipped, given_up=self.given_up, missing=missing)

    def prepare(self) -> None:
        """Base teachers, their scores and their signals, for the points that are left."""
        groups: dict[str, list[Point]] = {}
        wanted = self.left if self.plan.is_exact else typical_points(self.sweep)
        for point in wanted:
            groups.setdefault(point.base, []).append(point)
        for points in groups.values():
            example = points[0].config
            self.recorder.does(doing=f"generation 0 ({example.base.model})")
            worker = self.capacity.worker(example, wanted=1)
            for line in executor_of(example, self.place, worker).prepare(points):
                self.recorder.does(doing=line)
                self.progress.line(line)

    def run(self) -> None:
        """Run the points that are left, or as many as a race wants."""
        if self.suggestions:
            self._tune(self.suggestions, None)
        elif self.sweep.search.algorithm == "race":
            self._race()
        else:
            self._run(self.left)

    def _race(self) -> None:
        """Run one round after another, as long as there is anything to decide."""
        tried: set[str] = set()
        while due := [point for point in self._in_race() if point.id not in tried]:
            tried |= {point.id for point in due}
            self._run(due)
            if self.fail_fast and self.recorder.counts["failed"]:
                return

    def _in_race(self) -> list[Point]:
        """The points that are due in the next round; those that get no further seed are given up."""
        # A race alone needs statistics.
        from raykd.report.race import decide, why_out

        seeds = self.sweep.seeds or ()
        records = [self._scored(point) for point in self.plan.points]
        waiting = {record.id for record in records if record.result is None} & {point.id for point in self.left}
        points, configurations = {point.id: point for point in self.left}, by_configuration(records)
        due: list[Point] = []
        for decision in decide(records, seeds, self.sweep.search.race).values():
            next_seeds = seeds[: decision.rounds + 1]
            for each in configurations:
                if each.name not in decision.names:
                    continue
                left = [record for record in each.points if record.id in waiting]
                why = why_out(each.name, decision)
                if why is None:
                    due += [points[record.id] for record in left if points[record.id].config.seed in next_seeds]
                else:
                    self._give_up(left, why)
        return due

    def _give_up(self, left: Sequence[PointRecord], why: str) -> None:
        """Points of a configuration that gets no further seed: those that never ran, and those that failed or were
        given up before, which are not due any more."""
        points = {point.id: point for point in self.left}
        never = [points[record.id] for record in left if record.status in ("pending", "interrupted")]
        if never:
            self.recorder.give_up(never, why)
        before = {record.id for record in left} - {point.id for point in never} - self.recorder.ended_ids
        self.due, self.skipped = self.due - len(before), self.skipped + len(before)
        self.left = [point for point in self.left if point.id not in before]

    def _scored(self, point: Point) -> PointRecord:
        return replace(read_point(self.journal, point.id), outcomes=self.journal.points.outcomes(point.id))

    def _run(self, left: Sequence[Point]) -> None:
        """Run points: first those inside trial processes, then those with worker groups."""
        for executor in EXECUTORS:
            points = [point for point in left if point.config.compute.resolved_executor == executor]
            kinds: dict[tuple, list[Point]] = {}
            for point in points:
                compute = point.config.compute
                kinds.setdefault((compute.num_workers, compute.cpus_per_worker, compute.gpus_per_worker), []).append(
                    point
                )
            for group in kinds.values():
                if not (self.fail_fast and self.recorder.counts["failed"]):
                    self._tune(len(group), group)

    def _tune(self, count: int, points: Sequence[Point] | None) -> None:
        example = (points or typical_points(self.sweep))[0].config
        most = min(count, self.sweep.search.max_concurrent or count)
        worker = self.capacity.worker(example, wanted=most)
        concurrent = min(most, self.capacity.concurrency(example, worker))
        executor = executor_of(example, self.place, worker)
        shared = Shared(
            executor,
            run=self.place.run,
            sweep=None if points else self.sweep,
            max_deaths=self.sweep.search.max_attempts,
            raises=self.fail_fast,
        )
        trainable: Any = tune.with_parameters(PointTrial, shared=shared)
        self.recorder.does(doing=None, at_once=concurrent)
        what = counted(count, "point" if points else "suggestion")
        size = f"{counted(worker.cpus, 'CPU')} and {counted(worker.gpus, 'GPU')} per worker"
        self.progress.line(f"{what}, {concurrent} at a time, {size}")
        needs_metric = self.sweep.search.scheduler is not None or not self.plan.is_exact
        space = {"point": tune.grid_search(list(points))} if points else {}
        tuner = tune.Tuner(
            tune.with_resources(trainable, executor.trial_resources()),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric=METRIC if needs_metric else None,
                mode="max" if needs_metric else None,
                num_samples=count if not points else 1,
                max_concurrent_trials=concurrent,
                reuse_actors=executor.reuses_process,
                scheduler=early_stopping(self.sweep, [point.config for point in points or typical_points(self.sweep)]),
                search_alg=None if points else tpe(self.sweep, history(self.journal)),
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=f"tune-{time.time_ns()}",
                storage_path=str(self.journal.store.scratch.of_ray()),
                callbacks=[Watch(self.recorder)],
                verbose=0,
                # A process that dies is replaced: its trial counts how often. An error of raykd ends a trial.
                failure_config=tune.FailureConfig(max_failures=0 if self.fail_fast else -1, fail_fast=self.fail_fast),
            ),
        )
        try:
            tuner.fit()
        except (tune.TuneError, OSError, EOFError) as error:
            reason = DISK_FULL if is_full(self.journal.store) else plain_reason(error)
            raise TrainingError(reason) from error
        reap_all()


def _description(plan: Plan, folder: Path, *, data: Mapping[str, str]) -> SweepDescription:
    packages = ("ray", "torch", "transformers", "deepspeed", "datasets")
    return SweepDescription(
        name=plan.sweep.name,
        config=plan.sweep.to_json(),
        points=tuple(point.id for point in plan.points) if plan.is_exact else (),
        versions={"raykd": raykd.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        data=data,
        hardware=hardware(),
        source=commit(folder),
        started=time.time(),
        folder=str(folder.resolve()),
    )
