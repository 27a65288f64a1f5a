"""Points in a Ray Train worker group, the driver of the lineage beside it: for models that several workers share."""

import contextlib
import math
import time
import uuid
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from multiprocessing.pool import AsyncResult, ThreadPool
from typing import Any, ClassVar

import ray
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raykd.config.identity import Identity
from raykd.config.point import PointBase
from raykd.executors.capacity import DRIVER_CPUS, WorkerResources
from raykd.executors.executor import Place, open_context
from raykd.executors.ray_internals import torch_trainer
from raykd.executors.recording import plain_errors, recorded
from raykd.executors.waiting import LOOK_SECONDS, ReservationWatch
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.waits import seconds
from raykd.worker.job import PointJob
from raykd.worker.lineage import Driver

RESIZE_SECONDS = 60.0
"""How often a group with `num_workers: [min, max]` looks whether it can have another number of workers."""
PEER_LOST_SECONDS = seconds("RAYKD_PEER_LOST_SECONDS", 30.0)
"""Until Ray knows that a node is gone, at the latest."""
REPORT_SECONDS = 0.2
"""How often the end of a group is looked for while no report comes."""


class GroupExecutor:
    """An `Executor` whose trials drive a worker group."""

    reuses_process: ClassVar[bool] = False

    def __init__(self, place: Place, worker: WorkerResources) -> None:
        self.place, self.worker = place, worker

    def trial_resources(self) -> dict[str, float]:
        """Those of the driver alone: the group asks for its own."""
        return {"CPU": DRIVER_CPUS}

    def prepare(self, points: Sequence[Identity]) -> Iterator[str]:
        """In a worker group, for base teachers that one worker cannot hold; also yields what is waited for."""
        place, worker = self.place, self.worker

        def loop() -> None:
            from raykd.worker.prepare import prepare

            for _ in prepare(open_context(place, worker, alone=False), points):
                pass

        def fit() -> None:
            self._fit(loop, None, name=f"prepare-{points[0].base}", config=points[0].config, keeps_progress=False)

        with _plain_errors():
            yield from _waited_for(_begun(fit))
        yield f"generation 0 is ready ({points[0].config.base.model}), with its scores and signals"

    def reports(self, job: PointJob) -> Generator[EpochReport, None, None]:
        """In a worker group; the driver answers from an actor beside it, and reports come through another one."""
        with _plain_errors(), recorded(Journal(self.place.store), job), _actors(job, self.place) as (driver, queue):
            arguments = {"place": self.place, "job": job, "driver": driver, "worker": self.worker}

            def fit() -> None:
                self._fit(_train_loop, arguments, name=job.point.id, config=job.point.config, queue=queue)

            yield from _reports_of(_begun(fit), queue)

    def _fit(
        self,
        loop: Callable[..., None],
        arguments: dict[str, Any] | None,
        *,
        name: str,
        config: PointBase,
        queue: Queue | None = None,
        keeps_progress: bool = True,
    ) -> None:
        """Run a loop in a worker group until it ends.

        Args:
            queue: where reports go.
        """
        # As `ray.train` has them, with their types.
        from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig

        compute = config.compute
        scaling = ScalingConfig(
            num_workers=compute.num_workers,
            # What keeps no checkpoints would begin again when it could have a worker more.
            elastic_resize_monitor_interval_s=RESIZE_SECONDS if compute.checkpoints and keeps_progress else math.inf,
            use_gpu=self.worker.gpus > 0,
            resources_per_worker=self.worker.beside_driver(),
        )
        run = RunConfig(
            # raykd resumes from its own checkpoints: a name that Ray Train has seen would make it restore its own.
            name=f"{name}-{uuid.uuid4().hex[:8]}",
            storage_path=str(self.place.store.scratch.of_ray() / "train"),
            failure_config=FailureConfig(
                max_failures=compute.max_worker_failures,
                max_preemption_failures=compute.max_preemptions,
                # Of starts that wait in vain: Ray counts on a node that is taken away until it is gone.
                controller_failure_limit=compute.max_worker_failures + compute.max_preemptions,
            ),
            callbacks=[_reporting_to(queue)] if queue is not None else [],
        )
        torch_trainer()(loop, train_loop_config=arguments, scaling_config=scaling, run_config=run).fit()


@contextlib.contextmanager
def _actors(job: PointJob, place: Place) -> Iterator[tuple[Any, Queue]]:
    """The driver of a point's lineage, and the queue through which reports come."""
    from raykd.worker.point import lineage_of

    # They live and die with the trial: on a node that is taken away they would end it with them.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options: dict[str, Any] = {"num_cpus": 0, "scheduling_strategy": here}
    driver: Any = ray.remote(**options)(Driver).remote(lineage_of(job, place.store))
    queue = Queue(1, actor_options=options)
    try:
        yield driver, queue
    finally:
        ray.kill(driver)
        queue.shutdown(force=True)


def _train_loop(arguments: Mapping[str, Any]) -> None:
    """What a worker of a point's group runs."""
    import ray.train

    from raykd.worker.point import PointRun

    driver, notice = arguments["driver"], _Notice()
    context = open_context(arguments["place"], arguments["worker"], alone=False)
    point = PointRun(context, arguments["job"], notice=notice)
    try:
        for report in point.run(lambda records: ray.get(driver.next.remote(records))):
            ray.train.report(report.metrics())
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
        import ray.train

        info = ray.train.get_preemption_info()
        self.was_given |= info is not None
        return tuple(info.preempted_node_ids) if info is not None else None


def _reporting_to(queue: Queue) -> Any:
    """A callback of Ray Train that hands on what rank 0 reports, once all ranks have reported."""
    from ray.train import UserCallback

    class Reporting(UserCallback):
        def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
            queue.put(metrics[0])

    return Reporting()


def _begun(work: Callable[[], None]) -> AsyncResult:
    """Work in a daemon thread, which ends with this process."""
    return ThreadPool(1).apply_async(work)


def _reports_of(fit: AsyncResult, queue: Queue) -> Iterator[EpochReport]:
    """The reports of a group until it ends, and its error."""
    is_over = False
    while not is_over:
        # Looked at first: the last report may come together with the end.
        is_over = fit.ready()
        with contextlib.suppress(Empty):
            while True:
                yield EpochReport.of_metrics(queue.get(timeout=REPORT_SECONDS))
    fit.get()


def _waited_for(fit: AsyncResult) -> Iterator[str]:
    """What a group waits for, until it ends, and its error.

    Raises:
        StallError: if what it waits for can never come.
    """
    said: list[str] = []
    watch = ReservationWatch(said.append)
    while not fit.ready():
        fit.wait(LOOK_SECONDS)
        watch.look(is_running=False)
        yield from said
        said.clear()
    fit.get()


def _plain_errors() -> contextlib.AbstractContextManager[None]:
    from ray.train import TrainingFailedError

    return plain_errors(TrainingFailedError)
