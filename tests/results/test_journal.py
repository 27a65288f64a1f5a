import pytest

from raykd.errors import ConfigError
from raykd.results.journal import Journal, PointState


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal.at(tmp_path)


def test_a_folder_without_a_sweep_says_so(journal):
    with pytest.raises(ConfigError, match="no sweep was run here"):
        journal.sweep()


def test_the_sweep_is_read_back(journal):
    journal.write_sweep({"name": "few-shot", "points": ["b", "a"]})
    assert journal.sweep() == {"name": "few-shot", "points": ["b", "a"]}


def test_an_empty_folder_has_no_points(journal):
    assert journal.point_ids() == []


def test_points_are_listed_sorted_whatever_order_they_came_in(journal):
    for point_id in ("c3", "a1", "b2", "a1"):
        journal.add(point_id, {"label": point_id.upper()})
    journal.start("d4")  # a state alone is no point
    assert journal.point_ids() == ["a1", "b2", "c3"]
    assert journal.point("b2") == {"label": "B2"}


def test_adding_a_point_again_keeps_its_state_and_takes_its_new_label(journal):
    journal.add("a1", {"label": "one"})
    journal.start("a1")
    journal.add("a1", {"label": "uno"})
    assert journal.point("a1") == {"label": "uno"}
    assert journal.state("a1").status == "running"


def test_a_point_that_was_never_started_is_pending(journal):
    journal.add("a1", {})
    assert journal.state("a1") == PointState(status="pending", attempts=0, error=None, started=None, ended=None)


def test_a_finished_point_has_one_attempt_and_both_times(journal):
    journal.start("a1")
    running = journal.state("a1")
    assert (running.status, running.attempts, running.ended) == ("running", 1, None)
    journal.end("a1", "finished")
    state = journal.state("a1")
    assert (state.status, state.attempts, state.error) == ("finished", 1, None)
    assert state.started == running.started
    assert state.ended >= state.started


def test_every_start_counts_as_an_attempt_and_forgets_the_error_before(journal):
    journal.start("a1")
    journal.end("a1", "failed", error="out of memory")
    assert (journal.state("a1").status, journal.state("a1").error) == ("failed", "out of memory")
    journal.start("a1")
    state = journal.state("a1")
    assert (state.status, state.attempts, state.error, state.ended) == ("running", 2, None, None)
    journal.start("a1")  # killed without a word, and started again
    assert journal.state("a1").attempts == 3


def test_a_point_can_fail_before_it_started(journal):
    journal.end("a1", "failed", error="no such model")
    assert journal.state("a1").attempts == 0
    assert journal.state("a1").error == "no such model"


def test_a_point_is_seen_by_another_reader_of_the_same_folder(journal, tmp_path):
    journal.add("a1", {"label": "one"})
    journal.end("a1", "stopped", error="stopped early")
    other = Journal.at(tmp_path)
    assert other.point_ids() == ["a1"]
    assert other.state("a1").status == "stopped"


def test_there_is_no_result_until_one_is_written(journal):
    assert journal.result("a1") is None
    journal.write_result("a1", {"scores": {"gxlt_f1": 61.5}})
    assert journal.result("a1") == {"scores": {"gxlt_f1": 61.5}}


def test_epochs_come_in_order_and_a_repeated_one_replaces_its_report(journal):
    for epoch in (10, 2, 1):
        journal.write_epoch("a1", epoch, {"epoch": epoch, "loss": 0.5})
    journal.write_epoch("a1", 2, {"epoch": 2, "loss": 0.25})
    assert [(report["epoch"], report["loss"]) for report in journal.epochs("a1")] == [(1, 0.5), (2, 0.25), (10, 0.5)]


def test_a_point_without_an_epoch_has_none(journal):
    assert list(journal.epochs("a1")) == []


def test_deaths_in_one_run_count_until_the_point_gets_on(journal):
    assert journal.start("a1", run=1).deaths == 0
    assert journal.start("a1", run=1).deaths == 1
    assert journal.start("a1", run=1).deaths == 2
    journal.write_epoch("a1", 1, {"epoch": 1})
    assert journal.start("a1", run=1).deaths == 0
    assert journal.start("a1", run=1).deaths == 1
    # The whole sweep was killed, and the point with it.
    assert journal.start("a1", run=2).deaths == 0
    journal.end("a1", "failed", error="its own")
    assert journal.start("a1", run=2).deaths == 0


def test_failures_are_counted_until_they_are_forgiven(journal):
    for count in (1, 2):
        journal.start("a1")
        journal.end("a1", "failed", error="its own")
        assert journal.state("a1").failures == count
    journal.start("a1")
    journal.end("a1", "interrupted")
    assert journal.state("a1").failures == 2
    journal.forgive("a1")
    assert journal.state("a1").failures == 0
