import pytest
from support.written_results import description, report, result

from raykd.errors import ConfigError
from raykd.results.journal import Journal
from raykd.results.points import PointState
from raykd.results.sweep import Commit, Hardware, NodeKind, SweepDescription


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal.at(tmp_path)


def test_a_folder_without_a_sweep_says_so(journal):
    with pytest.raises(ConfigError, match="no sweep was run here"):
        journal.sweep.read()


def test_the_sweep_is_read_back(journal):
    described = SweepDescription(
        name="few-shot",
        points=("b", "a"),
        versions={"raykd": "0.1.0"},
        hardware=Hardware("A Processor", (NodeKind(2, 8.0, 1.0, 64, ("H100",)),)),
        source=Commit("0123", changed=False),
    )
    journal.sweep.write(described)
    assert journal.sweep.read() == described


def test_an_empty_folder_has_no_points(journal):
    assert journal.points.ids() == []


def test_points_are_listed_sorted_whatever_order_they_came_in(journal):
    for point_id in ("c3", "a1", "b2", "a1"):
        journal.points.add(description(point_id, label=point_id.upper()))
    journal.points.start("d4")  # a state alone is no point
    assert journal.points.ids() == ["a1", "b2", "c3"]
    assert journal.points.description("b2") == description("b2", label="B2")


def test_adding_a_point_again_keeps_its_state_and_takes_its_new_label(journal):
    journal.points.add(description("a1", label="one"))
    journal.points.start("a1")
    journal.points.add(description("a1", label="uno"))
    assert journal.points.description("a1") == description("a1", label="uno")
    assert journal.points.state("a1").status == "running"


def test_a_point_that_was_never_started_is_pending(journal):
    journal.points.add(description("a1"))
    assert journal.points.state("a1") == PointState(status="pending", attempts=0, error=None, started=None, ended=None)


def test_a_finished_point_has_one_attempt_and_both_times(journal):
    journal.points.start("a1")
    running = journal.points.state("a1")
    assert (running.status, running.attempts, running.ended) == ("running", 1, None)
    journal.points.end("a1", "finished")
    state = journal.points.state("a1")
    assert (state.status, state.attempts, state.error) == ("finished", 1, None)
    assert state.started == running.started
    assert state.ended >= state.started


def test_every_start_counts_as_an_attempt_and_forgets_the_error_before(journal):
    journal.points.start("a1")
    journal.points.end("a1", "failed", error="out of memory")
    assert (journal.points.state("a1").status, journal.points.state("a1").error) == ("failed", "out of memory")
    journal.points.start("a1")
    state = journal.points.state("a1")
    assert (state.status, state.attempts, state.error, state.ended) == ("running", 2, None, None)
    journal.points.start("a1")  # killed without a word, and started again
    assert journal.points.state("a1").attempts == 3


def test_a_point_can_fail_before_it_started(journal):
    journal.points.end("a1", "failed", error="no such model")
    assert journal.points.state("a1").attempts == 0
    assert journal.points.state("a1").error == "no such model"


def test_a_point_is_seen_by_another_reader_of_the_same_folder(journal, tmp_path):
    journal.points.add(description("a1", label="one"))
    journal.points.end("a1", "stopped", error="stopped early")
    other = Journal.at(tmp_path)
    assert other.points.ids() == ["a1"]
    assert other.points.state("a1").status == "stopped"


def test_there_is_no_result_until_one_is_written(journal):
    assert journal.points.result("a1") is None
    journal.points.write_result(result("a1", 61.5))
    assert journal.points.result("a1") == result("a1", 61.5)
    assert journal.points.result("a1").scores.main_value == 61.5


def test_epochs_come_in_order_and_a_repeated_one_replaces_its_report(journal):
    for epoch in (10, 2, 1):
        journal.epochs.write("a1", report(epoch, loss=0.5))
    journal.epochs.write("a1", report(2, loss=0.25))
    assert [(each.epoch, each.loss) for each in journal.epochs.of("a1")] == [(1, 0.5), (2, 0.25), (10, 0.5)]


def test_a_point_without_an_epoch_has_none(journal):
    assert list(journal.epochs.of("a1")) == []


def test_deaths_in_one_run_count_until_the_point_gets_on(journal):
    assert journal.points.start("a1", run=1).deaths == 0
    assert journal.points.start("a1", run=1).deaths == 1
    assert journal.points.start("a1", run=1).deaths == 2
    journal.epochs.write("a1", report(1))
    assert journal.points.start("a1", run=1).deaths == 0
    assert journal.points.start("a1", run=1).deaths == 1
    # The whole sweep was killed, and the point with it.
    assert journal.points.start("a1", run=2).deaths == 0
    journal.points.end("a1", "failed", error="its own")
    assert journal.points.start("a1", run=2).deaths == 0


def test_failures_are_counted_until_they_are_forgiven(journal):
    for count in (1, 2):
        journal.points.start("a1")
        journal.points.end("a1", "failed", error="its own")
        assert journal.points.state("a1").failures == count
    journal.points.start("a1")
    journal.points.end("a1", "interrupted")
    assert journal.points.state("a1").failures == 2
    journal.points.forgive("a1")
    assert journal.points.state("a1").failures == 0
