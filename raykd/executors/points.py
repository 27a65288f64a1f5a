"""Runs points on Ray: the worker loop inside this process, or in a Ray Train worker group with the driver beside it."""

import contextlib
import math
import time
import uuid
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError, RayTaskError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.callback import UserCallback

from raykd.config.identity import Identity
from raykd.config.point import PointBase
from raykd.errors import LeaseLostError, ProcessLostError, StallError, TrainingError
from raykd.executors.capacity import Capacity, WorkerResources
from raykd.executors.waiting import LOOK_SECONDS, STALL_SECONDS, Patience
from raykd.reasons import error_of_raykd, plain_reason
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.worker.context import WorkerContext
from raykd.worker.job import PointJob, unguarded
from raykd.worker.lineage import Driver
from raykd.worker.point import PointRun, lineage_of
from raykd.worker.prepare import prepare

PREPARE_ATTEMPTS = 3
RESIZE_SECONDS = 60.0
"""How often a group with `num_workers: [min, max]` looks whether it can have another number of workers."""
PEER_LOST_SECONDS = 30.0
"""Until Ray knows that a node is gone, at the latest."""


@dataclass(frozen=True)
class Place:
    """Where results go and where relative paths start; the same on every node.

    Attributes:
        guard: called before anything of the sweep is written; raises if the sweep is another run's by now.
        run: number of this run.
    """

    root: Path | str
    folder: Path
    guard: Callable[[], None] = unguarded
    run: int = 0

    def worker_context(self, *, alone: bool, resources: WorkerResources) -> WorkerContext:
        """This process as a worker."""
        return WorkerContext.open(Store(self.root), self.folder, alone=alone, threads=resources.threads)


class InlineWorker:
    """The worker loop in this very process, which stays warm from point to point."""

    def __init__(self, place: Place, resources: WorkerResources) -> None:
        self.context = place.worker_context(alone=True, resources=resources)

    def reports(self, job: PointJob) -> Iterator[dict[str, Any]]:
        """Run a point; yields a report after every epoch, of a finished point those that it left."""
        journal = Journal(self.context.store)
        if journal.state(job.point.id).status == "finished" and journal.result(job.point.id) is not None:
            # A searcher may draw a point that is the same as an earlier one.
            yield from journal.epochs(job.point.id)
            return
        with _recorded(journal, job):
            yield from PointRun(self.context, job).run(Driver(lineage_of(job, self.context.store)).next)


def prepare_inline(place: Place, points: Sequence[Identity], *, resources: WorkerResources) -> Iterator[str]:
    """`prepare` in a Ray task of its own; yields its lines as they come.

    A process that dies is tried again: what it made is there.

    Raises:
        StallError: if no node can hold the task any more.
    """

    @ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, num_returns="streaming", max_retries=0)
    def task() -> Iterator[str]:
        place.guard()
        yield from prepare(place.worker_context(alone=True, resources=resources), points)

    for attempt in range(PREPARE_ATTEMPTS):
        try:
            with _plain_errors():
                yield from _as_they_come(task.remote(), resources)
            return
        except ProcessLostError:
            if attempt + 1 == PREPARE_ATTEMPTS:
                raise
            yield "the process that makes what points share was lost; trying again"


def _as_they_come(lines: Any, resources: WorkerResources) -> Iterator[str]:
    held_since = time.monotonic()
    while True:
        ready, _ = ray.wait([lines], timeout=2, fetch_local=False)
        if ready:
            try:
                yield ray.get(next(lines))
            except StopIteration:
                return
        if ready or Capacity.of_cluster().slots(resources):
            held_since = time.monotonic()
        elif time.monotonic() - held_since > STALL_SECONDS:
            raise StallError(
                f"nothing starts for {STALL_SECONDS:.0f} s: no node can hold a worker of {resources.cpus:g} CPU(s) and "
                f"{resources.gpus:g} GPU(s) any more"
            )


def prepare_in_group(place: Place, points: Sequence[Identity], *, resources: WorkerResources) -> Iterator[str]:
    """`prepare` in a worker group, for base teachers that one worker cannot hold."""

    def loop() -> None:
        for _ in prepare(place.worker_context(alone=False, resources=resources), points):
            pass

    def fit() -> None:
        name = f"prepare-{points[0].base}"
        _fit(loop, None, place=place, name=name, config=points[0].config, resources=resources, keeps_progress=False)

    with _plain_errors():
        yield from _watched(fit)
    yield f"generation 0 is ready ({points[0].config.base.model}), with its scores and signals"


def _watched(work: Callable[[], None]) -> Iterator[str]:
    """Do something in a thread, and yield what it waits for.

    Raises:
        StallError: if that can never come; the thread, a daemon, ends with this process.
    """
    said: list[str] = []
    patience, result = Patience(said.append), ThreadPool(1).apply_async(work)
    while not result.ready():
        result.wait(LOOK_SECONDS)
        patience.look(is_running=False)
        yield from said
        said.clear()
    result.get()


def run_in_group(place: Place, job: PointJob, *, resources: WorkerResources, callbacks: list[UserCallback]) -> None:
    """Run a point in a worker group; the driver answers from an actor beside it.

    Raises:
        RaykdError: if the workers failed more often than they may, or with an error of raykd.
    """
    store = Store(place.root)
    driver = ray.remote(num_cpus=0)(Driver).remote(lineage_of(job, store))
    arguments = {"place": place, "job": job, "driver": driver, "resources": resources}
    try:
        with _plain_errors(), _recorded(Journal(store), job):
            _fit(
                _train_loop,
                arguments,
                place=place,
                name=job.point.id,
                config=job.point.config,
                resources=resources,
                callbacks=callbacks,
            )
    finally:
        ray.kill(driver)


def _train_loop(arguments: dict[str, Any]) -> None:
    place, job, driver = arguments["place"], arguments["job"], arguments["driver"]
    context = place.worker_context(alone=False, resources=arguments["resources"])
    notice = _Notice()
    try:
        for report in PointRun(context, job, notice=notice).run(lambda records: ray.get(driver.next.remote(records))):
            ray.train.report(report)
    except RuntimeError:
        if notice.was_given:
            # A peer went, as announced. Ray has to see that before this error, or it counts a failure.
            time.sleep(PEER_LOST_SECONDS)
        raise


class _Notice:
    """Tells which nodes of this worker's group are about to be taken away. All workers of the group ask together."""

    def __init__(self) -> None:
        self.was_given = False

    def __call__(self) -> Hashable:
        """The nodes, None while there are none."""
        info = ray.train.get_preemption_info()
        self.was_given |= info is not None
        return tuple(info.preempted_node_ids) if info is not None else None


def _fit(
    loop: Callable[..., None],
    arguments: dict[str, Any] | None,
    *,
    place: Place,
    name: str,
    config: PointBase,
    resources: WorkerResources,
    callbacks: Sequence[UserCallback] = (),
    keeps_progress: bool = True,
) -> None:
    compute = config.compute
    scaling = ScalingConfig(
        num_workers=compute.num_workers,
        # What keeps no checkpoints would begin again when it could have a worker more.
        elastic_resize_monitor_interval_s=RESIZE_SECONDS if compute.checkpoints and keeps_progress else math.inf,
        use_gpu=resources.gpus > 0,
        resources_per_worker=resources.beside_driver(),
    )
    run = RunConfig(
        # raykd resumes from its own checkpoints: a name that Ray Train has seen would make it restore its own.
        name=f"{name}-{uuid.uuid4().hex[:8]}",
        storage_path=str(Store(place.root).ray_folder() / "train"),
        failure_config=FailureConfig(
            max_failures=compute.max_worker_failures,
            max_preemption_failures=compute.max_preemptions,
            # Of starts that wait in vain: Ray counts on a node that is taken away until it is gone.
            controller_failure_limit=compute.max_worker_failures + compute.max_preemptions,
        ),
        callbacks=list(callbacks),
    )
    _Trainer(loop, train_loop_config=arguments, scaling_config=scaling, run_config=run).fit()


class _Trainer(TorchTrainer):
    """Without Ray's cleaner of placement groups: a detached actor that needs a dashboard, and stays for ever when its
    controller is killed, since it tries to end itself from a thread. `waiting.reap_orphans` does its work.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if not isinstance(callback, PlacementGroupCleanerCallback)]


@contextlib.contextmanager
def _recorded(journal: Journal, job: PointJob) -> Iterator[None]:
    """The journal says that the point runs, and how it ended; a point stopped early is left to the sweep.

    Whoever is told to end (an actor of a job that is stopped, say) did not fail.

    Raises:
        TrainingError: if too many processes died with the point without getting on.
    """
    job.guard()
    state = journal.start(job.point.id, job.run)
    try:
        if state.deaths >= job.max_deaths:
            raise TrainingError(f"its process died {state.deaths} times at the same place, or ran out of memory")
        yield
    except (GeneratorExit, LeaseLostError):
        raise
    except Exception as error:
        # A full disk takes no record either; the sweep's own process then says what happened.
        with contextlib.suppress(OSError):
            journal.end(job.point.id, "failed", error=plain_reason(error))
        raise
    job.guard()
    journal.end(job.point.id, "finished")


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Errors of tasks and worker groups, as the error of raykd inside them or as one line on what happened."""
    try:
        yield
    except (RayError, TrainingFailedError) as error:
        ours = error_of_raykd(error)
        if ours is not None:
            raise ours from error
        kind = TrainingError if isinstance(error, (RayTaskError, TrainingFailedError)) else ProcessLostError
        raise kind(plain_reason(error)) from error
