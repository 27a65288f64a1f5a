"""What the journal, and whoever asked for a point, hear of how it went."""

import contextlib
from collections.abc import Iterator

from ray.exceptions import RayError, RayTaskError

from raykd.errors import LeaseLostError, ProcessLostError, TrainingError
from raykd.reasons import error_of_raykd, plain_reason
from raykd.results.journal import Journal
from raykd.worker.job import PointJob


@contextlib.contextmanager
def recorded(journal: Journal, job: PointJob) -> Iterator[None]:
    """The journal says that the point runs, and how it ended; a point stopped early is left to the sweep.

    Whoever is told to end (an actor of a job that is stopped, say) did not fail.

    Raises:
        TrainingError: if too many processes died with the point without getting on.
    """
    state = journal.points.start(job.point.id, job.run)
    try:
        if state.deaths >= job.max_deaths:
            raise TrainingError(f"its process died {state.deaths} times at the same place, or ran out of memory")
        yield
    except (GeneratorExit, LeaseLostError):
        raise
    except Exception as error:
        # A full disk takes no record either; the sweep's own process then says what happened.
        with contextlib.suppress(OSError, LeaseLostError):
            journal.points.end(job.point.id, "failed", error=plain_reason(error))
        raise
    journal.points.end(job.point.id, "finished")


@contextlib.contextmanager
def plain_errors(*more: type[Exception]) -> Iterator[None]:
    """Errors of Ray's tasks and actors, as the error of raykd inside them or as one line on what happened.

    Args:
        more: other kinds of errors that wrap what happened.
    """
    wrapping: tuple[type[Exception], ...] = (RayError, *more)
    try:
        yield
    except wrapping as error:
        ours = error_of_raykd(error)
        if ours is not None:
            raise ours from error
        kind = TrainingError if isinstance(error, (RayTaskError, *more)) else ProcessLostError
        raise kind(plain_reason(error)) from error
