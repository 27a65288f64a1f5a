"""What every way to run points on Ray offers."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from raykd.config.identity import Identity
from raykd.executors.capacity import WorkerResources
from raykd.results.artifacts import Store
from raykd.results.epochs import EpochReport
from raykd.worker.job import PointJob

if TYPE_CHECKING:
    from raykd.worker.context import WorkerContext


@dataclass(frozen=True)
class Place:
    """Where the results of a run go and where relative paths start; the same on every node.

    Attributes:
        store: the results; it changes nothing once the sweep is another run's.
        run: number of this run.
    """

    store: Store
    folder: Path
    run: int = 0


class Executor(Protocol):
    """A way to run points on Ray, with workers of one size. It is made in one process and used in others."""

    place: Place
    reuses_process: ClassVar[bool]
    """Whether a process that ran a point runs the next one too."""

    def __init__(self, place: Place, worker: WorkerResources) -> None: ...

    def trial_resources(self) -> dict[str, float]:
        """What Ray must keep free for the process that calls `reports`."""
        ...

    def prepare(self, points: Sequence[Identity]) -> Iterator[str]:
        """Make what points with one base teacher share; yields a line for each thing made.

        Raises:
            StallError: if no node can hold what it needs any more.
        """
        ...

    def reports(self, job: PointJob) -> Generator[EpochReport, None, None]:
        """Run a point and record it in the journal; yields a report after every epoch.

        Closing the iterator stops the point early, and leaves it to the sweep to record.

        Raises:
            RaykdError: if the point failed; the journal says so too.
        """
        ...


def open_context(place: Place, worker: WorkerResources, *, alone: bool) -> "WorkerContext":
    """This process as a worker; it loads what trains models, which other processes of a run never need."""
    from raykd.worker.context import WorkerContext

    return WorkerContext.open(place.store, place.folder, alone=alone, threads=worker.threads)
