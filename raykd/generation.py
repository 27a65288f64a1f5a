"""Runs points on Ray: the worker loop inside this process, or in a Ray Train worker group with the driver beside it."""

import logging
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2.api.callback import UserCallback

from raykd.artifacts import Store
from raykd.config.point import PointConfig
from raykd.journal import Journal
from raykd.lineage import Driver
from raykd.worker import Job, PointRun, prepare
from raykd.workspace import Workspace

log = logging.getLogger(__name__)
MAX_WORKER_FAILURES = 2


@dataclass(frozen=True)
class Place:
    """Where results go and where relative paths start; the same on every node."""

    root: Path
    folder: Path


@dataclass(frozen=True)
class WorkerResources:
    """What one worker of a point takes."""

    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """Threads of one worker's tensor operations."""
        return max(1, int(self.cpus))


class InlineWorker:
    """The worker loop in this very process, which stays warm from point to point."""

    def __init__(self, place: Place, *, threads: int) -> None:
        self.space = Workspace.open(Store(place.root), place.folder, alone=True, threads=threads)

    def reports(self, job: Job) -> Iterator[dict[str, Any]]:
        """Run a point; yields a report after every epoch."""
        journal = Journal(self.space.store)
        journal.start(job.point_id)
        yield from PointRun(self.space, job).run(Driver(job.lineage(self.space.store)).next)
        journal.end(job.point_id, "finished")

    def prepare(self, base: str, configs: Sequence[PointConfig]) -> Iterator[str]:
        """Make what the points with this base teacher share."""
        return prepare(self.space, base, configs)


def prepare_inline(place: Place, base: str, configs: Sequence[PointConfig], *, resources: WorkerResources) -> Iterator[str]:
    """`prepare` in a Ray task of its own; yields its lines as they come."""

    @ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, num_returns="streaming", max_retries=0)
    def task() -> Iterator[str]:
        yield from InlineWorker(place, threads=resources.threads).prepare(base, configs)

    for line in task.remote():
        yield ray.get(line)


def prepare_in_group(place: Place, base: str, configs: Sequence[PointConfig], *, resources: WorkerResources) -> Iterator[str]:
    """`prepare` in a worker group, for base teachers that one worker cannot hold."""

    def loop() -> None:
        space = Workspace.open(Store(place.root), place.folder, alone=False, threads=resources.threads)
        for line in prepare(space, base, configs):
            log.info(line)

    _trainer(loop, None, place, f"prepare-{base}", configs[0].compute.num_workers, resources, []).fit()
    yield f"generation 0 is ready ({configs[0].base.model}), with its scores and signals"


def run_in_group(place: Place, job: Job, *, resources: WorkerResources, callbacks: list[UserCallback]) -> None:
    """Run a point in a worker group; the driver answers from an actor beside it.

    Raises:
        ray.train.TrainingFailedError: if the workers failed more often than they may.
    """
    store = Store(place.root)
    journal = Journal(store)
    journal.start(job.point_id)
    driver = ray.remote(num_cpus=0)(Driver).remote(job.lineage(store))
    arguments = {"place": place, "job": job, "driver": driver, "threads": resources.threads}
    trainer = _trainer(_train_loop, arguments, place, job.point_id, job.config.compute.num_workers, resources, callbacks)
    try:
        trainer.fit()
    finally:
        ray.kill(driver)
    journal.end(job.point_id, "finished")


def _train_loop(arguments: dict[str, Any]) -> None:
    place, job, driver = arguments["place"], arguments["job"], arguments["driver"]
    space = Workspace.open(Store(place.root), place.folder, alone=False, threads=arguments["threads"])
    for report in PointRun(space, job).run(lambda records: ray.get(driver.next.remote(records))):
        ray.train.report(report)


def _trainer(
    loop: Any,
    arguments: dict[str, Any] | None,
    place: Place,
    name: str,
    num_workers: int,
    resources: WorkerResources,
    callbacks: list[UserCallback],
) -> TorchTrainer:
    per_worker = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
    return TorchTrainer(
        loop,
        train_loop_config=arguments,
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=resources.gpus > 0, resources_per_worker=per_worker),
        run_config=RunConfig(
            # raykd resumes from its own checkpoints: a name that Ray Train has seen would make it restore its own.
            name=f"{name}-{uuid.uuid4().hex[:8]}",
            storage_path=str(place.root / ".ray" / "train"),
            failure_config=FailureConfig(max_failures=MAX_WORKER_FAILURES, controller_failure_limit=MAX_WORKER_FAILURES),
            callbacks=callbacks,
        ),
    )
