"""The status of a sweep: of every state, with estimates worked out by hand, and while it is written."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.status_invariants import Watcher
from support.written_results import add, begin, finish, heartbeat, report, result

from raykd.errors import ConfigError
from raykd.report.leaderboard import leaderboard
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.results.lease import Lease
from raykd.results.sweep import Activity
from raykd.status import PointStatus, StatusReader, SweepStatus, read_status


@pytest.fixture
def lease(tmp_path) -> Iterator[Lease]:
    """A run of this very process, which is alive."""
    with Lease.take(Store(tmp_path)) as lease:
        yield lease


def of(status: SweepStatus, point_id: str) -> PointStatus:
    (found,) = [point for point in status.points if point.id == point_id]
    return found


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match="not a results folder"):
            read_status(place)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="not a results folder"):
        read_status(tmp_path / "file")


def test_a_run_that_has_recorded_nothing_yet_is_seen(tmp_path, lease):
    status = read_status(tmp_path)
    assert (status.run.number, status.num_points, status.seconds_left) == (lease.number, 0, None)
    assert status.doing == "a connection to the cluster"


def test_points_of_a_file_are_pending_before_they_are_recorded(tmp_path):
    journal = begin(tmp_path, "a", "b")
    add(journal, "b", "skd seed=2")
    status = read_status(tmp_path)
    assert [(point.label, point.state) for point in status.points] == [("a", "pending"), ("skd seed=2", "pending")]
    assert (status.counts["pending"], status.num_epochs, status.best, status.run) == (2, 2 + 3, None, None)
    assert not status.is_over


def test_every_state_is_told_with_what_belongs_to_it(tmp_path, lease):
    journal = begin(tmp_path, "a", "b", "c", "d", "e")
    for point_id in "abcde":
        add(journal, point_id)
    finish(journal, "a", 60.0)
    finish(journal, "b", 65.0)
    journal.points.start("c", lease.number)
    journal.points.end("c", "failed", error="out of memory")
    journal.points.start("d", lease.number - 1)
    journal.points.start("e", lease.number)
    journal.heartbeats.write("e", heartbeat(0, share=0.25))
    status = read_status(tmp_path)
    Watcher().see(status)
    assert [point.state for point in status.points] == ["finished", "finished", "failed", "interrupted", "running"]
    assert (status.best.label, status.best.score, status.best.heading) == ("skd b", 65.0, "G-XLT F1")
    assert (of(status, "c").error, of(status, "c").failures) == ("out of memory", 1)
    running = of(status, "e")
    assert (running.doing, running.epoch, running.share, running.generation) == ("training", 0, 0.25, 1)
    assert (status.epochs, status.num_epochs) == (9, 15)
    assert not status.is_over


def test_nothing_runs_once_the_run_is_over(tmp_path):
    journal = begin(tmp_path, "a")
    add(journal, "a")
    with Lease.take(journal.store) as lease:
        journal.points.start("a", lease.number)
        assert of(read_status(tmp_path), "a").state == "running"
    status = read_status(tmp_path)
    assert (of(status, "a").state, status.run, status.seconds_left) == ("interrupted", None, None)
    with Lease.take(journal.store) as lease:
        assert of(read_status(tmp_path), "a").state == "interrupted"
        journal.points.start("a", lease.number)
        finish(journal, "a", 60.0, run=lease.number)
    assert read_status(tmp_path).is_over


def test_a_finished_point_whose_result_is_gone_is_to_be_run_again(tmp_path):
    journal = begin(tmp_path, "a")
    add(journal, "a")
    journal.points.start("a")
    journal.points.end("a", "finished")
    assert of(read_status(tmp_path), "a").state == "pending"


def test_a_result_counts_for_status_and_leaderboard_from_the_moment_that_the_state_says_so(tmp_path, lease):
    journal = begin(tmp_path, "a", "b")
    add(journal, "a", temperature=1)
    add(journal, "b", temperature=2)
    finish(journal, "a", 60.0)
    journal.points.start("b", lease.number)
    journal.points.write_result(result("b", 65.0))
    for ended, best, scores in ((False, "a", [60.0]), (True, "b", [65.0, 60.0])):
        if ended:
            journal.points.end("b", "finished")
        assert read_status(tmp_path).best.id == best
        assert [row.mean["gxlt_f1"] for row in leaderboard(tmp_path).rows if row.num_seeds] == scores


def test_reports_of_an_earlier_attempt_do_not_say_how_far_this_one_is(tmp_path, lease):
    journal = begin(tmp_path, "a")
    add(journal, "a", epochs=6)
    journal.points.start("a", lease.number)
    for epoch in (1, 2, 3):
        journal.epochs.write("a", report(epoch, of=6, loss=float(epoch)))
    journal.points.start("a", lease.number)
    assert (of(read_status(tmp_path), "a").epoch, of(read_status(tmp_path), "a").loss) == (None, None)
    journal.heartbeats.write("a", heartbeat(1))  # its checkpoint was that of the first epoch
    assert (of(read_status(tmp_path), "a").epoch, of(read_status(tmp_path), "a").loss) == (1, 1.0)
    # The second epoch is done again, and the process has not given a sign of life since.
    journal.epochs.write("a", report(2, of=6, loss=2.5))
    status = of(read_status(tmp_path), "a")
    assert (status.epoch, status.loss, status.generation, status.doing) == (2, 2.5, 3, None)


def test_time_left_is_that_of_the_points_own_epochs_and_of_points_like_it(tmp_path, lease):
    journal = begin(tmp_path, "a", "b", "c", "d")
    add(journal, "a", seed=1)
    add(journal, "b", seed=1, T=4)
    add(journal, "c", seed=2)
    add(journal, "d", seed=2, T=4)
    assert read_status(tmp_path).seconds_left is None
    finish(journal, "a", 60.0, run=lease.number, seconds=30.0)  # 10 s an epoch
    journal.points.start("b", lease.number)
    journal.epochs.write("b", report(1, seconds=20.0))
    journal.heartbeats.write("b", heartbeat(1, share=0.5))
    journal.sweep.write_activity(Activity(run=lease.number, at_once=1))
    status = read_status(tmp_path)
    # b: 1.5 epochs of 20 s. c is like a, 3 epochs of 10 s; d is like b.
    assert [of(status, name).seconds_left for name in "bcd"] == [30.0, 30.0, 60.0]
    assert status.seconds_left == pytest.approx(30.0 + 30.0 + 60.0)
    assert status.waiting == ("2 points queued (1 run at once)",)
    journal.sweep.write_activity(Activity(run=lease.number, at_once=4))
    assert read_status(tmp_path).seconds_left == pytest.approx(30.0)


def test_the_first_epoch_is_estimated_from_its_steps(tmp_path, lease):
    journal = begin(tmp_path, "a")
    add(journal, "a")
    journal.points.start("a", lease.number)
    journal.heartbeats.write("a", heartbeat(0, share=0.25, seconds_left=30.0))
    # 40 s an epoch: 30 s of this one, and two more.
    assert read_status(tmp_path).seconds_left == pytest.approx(110.0)


def test_points_that_a_searcher_has_yet_to_choose_are_counted(tmp_path, lease):
    journal = begin(tmp_path, num_points=5)
    add(journal, "a")
    add(journal, "b")
    finish(journal, "a", 60.0, run=lease.number, seconds=30.0)
    journal.points.start("b", lease.number)
    status = read_status(tmp_path)
    assert (status.num_points, status.to_draw) == (2, 3)
    # Lineages of the file have two epochs.
    assert (status.epochs, status.num_epochs) == (3, 3 + 3 + 3 * 2)
    assert status.seconds_left == pytest.approx(30.0 + 60.0)


def test_what_the_run_waits_for_is_told_while_it_lives(tmp_path, lease):
    journal = begin(tmp_path, "a")
    journal.sweep.write_activity(Activity(run=lease.number, doing="generation 0", waiting=("no GPU",)))
    status = read_status(tmp_path)
    assert status.doing == "generation 0"
    assert status.waiting == ("no GPU", "1 point for teacher outputs")
    lease.release()
    assert (read_status(tmp_path).doing, read_status(tmp_path).waiting) == (None, ())


def test_a_bucket_is_read_as_a_folder_is(bucket):
    journal = begin(bucket, "a", "b")
    add(journal, "a")
    finish(journal, "a", 60.0)
    with Lease.take(journal.store) as lease:
        assert read_status(bucket).run.number == lease.number
    status = read_status(bucket)
    assert [point.state for point in status.points] == ["finished", "pending"]
    assert (status.best.score, status.run) == (60.0, None)


def life(
    journal: Journal,
    point_id: str,
    run: Callable[[], int],
    ends: list[str],
    *,
    far: dict[tuple[str, int], int],
    by: dict[tuple[str, int], int],
) -> Iterator[None]:
    """A point walked through its states as the runner, a trial and a worker do; one record a step.

    Args:
        far: gets how many epochs were reported by the end of each attempt.
        by: gets the run of each attempt.
    """
    add(journal, point_id)
    reached = 0
    for end in ends:
        yield
        journal.heartbeats.forget(point_id)
        yield
        attempt = journal.points.start(point_id, run()).attempts
        far[point_id, attempt], by[point_id, attempt] = reached, run()
        yield
        journal.heartbeats.write(point_id, heartbeat(None))
        # A checkpoint may be an epoch behind.
        for epoch in range(max(reached - 1, 0), 3):
            yield
            journal.heartbeats.write(point_id, heartbeat(epoch, share=0.5, seconds_left=1.0))
            if epoch == 2 and end == "killed":
                break
            yield
            journal.epochs.write(point_id, report(epoch + 1))
            reached = far[point_id, attempt] = max(reached, epoch + 1)
        yield
        if end == "killed":
            continue
        if end == "finished":
            journal.points.write_result(result(point_id, 50.0 + int(point_id)))
            yield
            journal.heartbeats.forget(point_id)
            yield
            journal.points.end(point_id, "finished")
            return
        journal.points.end(point_id, end, error="its own" if end == "failed" else None)


ENDS = st.lists(st.sampled_from(["killed", "failed", "interrupted"]), max_size=2).map(lambda ends: [*ends, "finished"])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_status_is_true_of_one_moment_however_it_is_written_meanwhile(tmp_path_factory, data):
    """Whatever the reader reads, the writers may have moved on before it reads the next record."""
    root = tmp_path_factory.mktemp("sweep")
    journal = begin(root, "1", "2", "3")
    far: dict[tuple[str, int], int] = {}
    by: dict[tuple[str, int], int] = {}
    lives = {name: life(journal, name, lambda: lease.number, data.draw(ENDS), far=far, by=by) for name in "123"}
    step = st.tuples(st.integers(0, 6), st.sampled_from("123123r"), st.integers(1, 8))
    steps = data.draw(st.lists(step, min_size=30, max_size=30))
    lease, reads, finished = Lease.take(journal.store), 0, set()

    def advance() -> None:
        nonlocal reads, lease
        reads -= 1
        if reads > 0 or not steps:
            return
        reads, name, count = steps.pop()
        if name == "r":
            lease.release()
            lease = Lease.take(journal.store)
        else:
            for _ in range(count):
                next(lives[name], None)
        # From then on, and not before, a result counts.
        finished.update(each for each in "123" if journal.points.state(each).status == "finished")

    class Watched(Store):
        def read(self, name: Any) -> bytes:
            advance()
            return super().read(name)

        def exists(self, name: Any) -> bool:
            advance()
            return super().exists(name)

        def children(self, name: Any) -> list[str]:
            advance()
            return super().children(name)

        def files(self, name: Any) -> dict[str, Any]:
            advance()
            return super().files(name)

    reader, watcher = StatusReader(root), Watcher()
    reader.journal = Journal(Watched(root))
    while steps:
        before = set(finished)
        status = reader.read()
        watcher.see(status)
        scored = {point.id for point in status.points if point.score is not None}
        assert before <= scored <= finished
        for point in status.points:
            assert (point.epoch or 0) <= far.get((point.id, point.attempts), 0)
            begun_by = by.get((point.id, point.attempts), 0)
            assert begun_by <= (status.run.number if status.run else lease.number)
    lease.release()


def test_a_status_is_right_while_threads_write(tmp_path):
    journal = begin(tmp_path, *map(str, range(1, 9)))
    with Lease.take(journal.store) as lease:

        def walk(name: str) -> None:
            for _ in life(journal, name, lambda: lease.number, ["interrupted", "finished"], far={}, by={}):
                time.sleep(0.03)

        threads = [threading.Thread(target=walk, args=(str(name),)) for name in range(1, 9)]
        reader, watcher = StatusReader(tmp_path), Watcher()
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            watcher.see(reader.read())
        watcher.see(reader.read())
    assert watcher.last.counts["finished"] == 8
    assert watcher.last.best.score == 58.0
    assert watcher.num_seen > 5


def test_hundreds_of_points_are_read_at_once(tmp_path):
    names = [f"{number:04d}" for number in range(300)]
    journal = begin(tmp_path, *names)
    for name in names:
        add(journal, name)
    began = time.process_time()
    assert read_status(tmp_path).counts["pending"] == 300
    assert time.process_time() - began < 0.5
