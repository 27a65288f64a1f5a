"""Points inside the process of their trial, which is reused from point to point: for points with one worker."""

import functools
import time
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import ray

from raykd.config.identity import Identity
from raykd.errors import ProcessLostError, StallError
from raykd.executors.capacity import Capacity, WorkerResources
from raykd.executors.executor import Place, open_context
from raykd.executors.recording import plain_errors, recorded
from raykd.executors.waiting import STALL_SECONDS
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.words import counted
from raykd.worker.job import PointJob
from raykd.worker.lineage import Driver

if TYPE_CHECKING:
    from raykd.worker.context import WorkerContext

PREPARE_ATTEMPTS = 3


class InlineExecutor:
    """An `Executor` whose trials run the worker loop themselves."""

    reuses_process: ClassVar[bool] = True

    def __init__(self, place: Place, worker: WorkerResources) -> None:
        self.place, self.worker = place, worker

    @functools.cached_property
    def context(self) -> "WorkerContext":
        """This process as the only worker of its points."""
        return open_context(self.place, self.worker, alone=True)

    def trial_resources(self) -> dict[str, float]:
        """Those of the worker."""
        return {"CPU": self.worker.cpus, "GPU": self.worker.gpus}

    def prepare(self, points: Sequence[Identity]) -> Iterator[str]:
        """In a Ray task of its own; yields lines as they come.

        A process that dies is tried again: what it made is there.
        """
        place, worker = self.place, self.worker

        @ray.remote(num_cpus=worker.cpus, num_gpus=worker.gpus, num_returns="streaming", max_retries=0)
        def task() -> Iterator[str]:
            from raykd.worker.prepare import prepare

            place.store.check_fence()
            yield from prepare(open_context(place, worker, alone=True), points)

        for attempt in range(PREPARE_ATTEMPTS):
            try:
                with plain_errors():
                    yield from _as_they_come(task.remote(), worker)
                return
            except ProcessLostError:
                if attempt + 1 == PREPARE_ATTEMPTS:
                    raise
                yield "the process that computes what points share was lost; retrying"

    def reports(self, job: PointJob) -> Generator[EpochReport, None, None]:
        """In this process."""
        from raykd.worker.point import PointRun, lineage_of

        journal = Journal(self.place.store)
        with recorded(journal, job):
            yield from PointRun(self.context, job).run(Driver(lineage_of(job, self.place.store)).next)


def _as_they_come(lines: Any, worker: WorkerResources) -> Iterator[str]:
    held_since = time.monotonic()
    while True:
        ready, _ = ray.wait([lines], timeout=2, fetch_local=False)
        if ready:
            try:
                yield ray.get(next(lines))
            except StopIteration:
                return
        if ready or Capacity.of_cluster().slots(worker):
            held_since = time.monotonic()
        elif time.monotonic() - held_since > STALL_SECONDS:
            raise StallError(
                f"nothing starts for {STALL_SECONDS:.0f} s: no node can hold a worker of "
                f"{counted(worker.cpus, 'CPU')} and {counted(worker.gpus, 'GPU')} any more"
            )
