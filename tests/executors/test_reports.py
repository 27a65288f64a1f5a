"""How the reports of a worker group reach its trial, and what the journal hears, without Ray."""

import threading
from multiprocessing.pool import ThreadPool

import pytest
from ray.util.queue import Empty
from support.tiny_sweeps import point
from support.written_results import report

from raykd.errors import LeaseLostError, ProcessLostError, TrainingError
from raykd.executors.group import _reports_of
from raykd.executors.recording import plain_errors, recorded
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.worker.job import PointJob


class LocalQueue:
    """A queue in this process."""

    def __init__(self) -> None:
        self.held, self.filled = [], threading.Event()

    def put(self, item) -> None:
        self.held.append(item)

    def get(self, timeout: float):
        if not self.held:
            raise Empty
        return self.held.pop(0)


def test_every_report_comes_also_the_one_that_comes_with_the_end():
    queue = LocalQueue()

    def fit() -> None:
        for epoch in range(3):
            queue.put(report(epoch).metrics())

    begun = ThreadPool(1).apply_async(fit)
    begun.wait()
    assert [found.epoch for found in _reports_of(begun, queue)] == [0, 1, 2]


def test_the_error_of_a_group_follows_its_last_report():
    queue, found = LocalQueue(), []

    def fit() -> None:
        queue.put(report(1).metrics())
        raise TrainingError("it failed")

    with pytest.raises(TrainingError, match="it failed"):
        for each in _reports_of(ThreadPool(1).apply_async(fit), queue):
            found.append(each.epoch)
    assert found == [1]


@pytest.fixture
def job() -> PointJob:
    return PointJob(point(), run=4)


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal(Store(tmp_path))


def test_a_point_that_ends_or_fails_says_so_in_the_journal(job, journal):
    with recorded(journal, job):
        assert journal.points.state(job.point.id).status == "running"
        assert journal.points.state(job.point.id).run == 4
    assert journal.points.state(job.point.id).status == "finished"
    with pytest.raises(ProcessLostError), recorded(journal, job):
        raise ProcessLostError("its process was lost")
    state = journal.points.state(job.point.id)
    assert (state.status, state.error) == ("failed", "its process was lost")


@pytest.mark.parametrize("end", [GeneratorExit, LeaseLostError("another run took over")])
def test_a_point_that_is_stopped_or_lost_is_left_to_others_to_record(job, journal, end):
    with pytest.raises((GeneratorExit, LeaseLostError)), recorded(journal, job):
        raise end
    assert journal.points.state(job.point.id).status == "running"


def test_a_failure_is_told_as_such_where_the_lease_was_lost_meanwhile(job, tmp_path):
    taken = threading.Event()

    def fence() -> None:
        if taken.is_set():
            raise LeaseLostError("another run took over")

    with pytest.raises(TrainingError, match="it failed"), recorded(Journal(Store(tmp_path, fence)), job):
        taken.set()
        raise TrainingError("it failed")
    assert Journal(Store(tmp_path)).points.state(job.point.id).status == "running"


def test_an_error_of_raykd_is_found_in_what_wraps_it():
    class Wrapped(Exception):
        cause = TrainingError("inside")

    with pytest.raises(TrainingError, match=r"^inside$"), plain_errors(Wrapped):
        raise Wrapped("outside")
