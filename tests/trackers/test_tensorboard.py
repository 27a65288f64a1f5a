"""TensorBoard's files, read back by TensorBoard itself."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.tracked_sweep import fill, finish, report, trackers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.trackers.run import Ledger
from raykd.trackers.tensorboard import TensorBoard


def read(root: Path, label: str = "skd-seed=1-a1") -> EventAccumulator:
    shown = EventAccumulator(str(root / "tensorboard" / label))
    shown.Reload()
    return shown


def steps(shown: EventAccumulator, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in shown.Scalars(name)]


def follow(journal: Journal, *point_ids: str) -> None:
    """One run of the sweep that hears of these points."""
    with trackers(journal, tensorboard=True) as heard:
        for point_id in point_ids:
            heard.changed(point_id)


def test_every_number_of_an_epoch_is_a_curve_and_every_score_of_the_result_a_value(tmp_path):
    journal = fill(tmp_path)
    journal.points.start("a1")
    for epoch in (1, 2, 3):
        journal.epochs.write("a1", report(epoch))
    finish(journal, "a1")
    follow(journal, "a1")
    shown = read(tmp_path)
    assert steps(shown, "dev_score") == [(1, 10.0), (2, 20.0), (3, 30.0)]
    assert steps(shown, "parts/word") == [(epoch, 0.125) for epoch in (1, 2, 3)]
    assert steps(shown, "generation") == [(1, 1.0), (2, 1.0), (3, 2.0)]
    assert steps(shown, "final/gxlt_f1") == [(3, 60.0)]
    assert steps(shown, "final/cells/en-de/f1") == [(3, 40.0)]
    names = set(shown.Tags()["scalars"])
    assert names.isdisjoint({"epoch", "coefficient", "final/cells/en-de/num_questions", "final/gxlt_off_diagonal_f1"})
    assert shown.Tensors("status/text_summary")[0].tensor_proto.string_val == [b"finished"]
    assert "_hparams_/session_start_info" in shown.summary_metadata
    # A point that has not begun has nothing to show.
    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == ["skd-seed=1-a1"]


def test_a_run_that_goes_on_adds_to_the_file_what_is_missing_and_nothing_twice(tmp_path):
    journal = fill(tmp_path)
    journal.points.start("a1")
    journal.epochs.write("a1", report(1))
    follow(journal, "a1")
    (file,) = (tmp_path / "tensorboard/skd-seed=1-a1").iterdir()
    before, same = file.read_bytes(), file.stat().st_ino
    # Two epochs that no tracker heard of, in a process that is gone.
    journal.epochs.write("a1", report(2))
    journal.epochs.write("a1", report(3))
    journal.points.start("a1")
    follow(journal)
    assert file.read_bytes().startswith(before)
    # Who reads it while it is written goes on in the same file.
    assert file.stat().st_ino == same
    assert steps(read(tmp_path), "loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    content = file.read_bytes()
    follow(journal, "a1")
    assert file.read_bytes() == content


def test_a_record_that_was_torn_is_completed(tmp_path):
    journal = fill(tmp_path)
    journal.points.start("a1")
    journal.epochs.write("a1", report(1))
    follow(journal, "a1")
    (file,) = (tmp_path / "tensorboard/skd-seed=1-a1").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    journal.points.start("a1")
    follow(journal, "a1")
    assert file.read_bytes() == whole


def test_an_epoch_that_is_repeated_with_other_numbers_replaces_its_first_time(tmp_path):
    journal = fill(tmp_path)
    journal.points.start("a1")
    journal.epochs.write("a1", report(1))
    journal.epochs.write("a1", report(2))
    follow(journal, "a1")
    journal.points.start("a1")
    journal.epochs.write("a1", report(2, loss=0.25))
    follow(journal, "a1")
    assert steps(read(tmp_path), "loss") == [(1, 1.0), (2, 0.25)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["epoch", "repeat", "restart", "fail", "tell", "tear"]), max_size=10))
@example(["fail", "tell", "restart"])
def test_whatever_happened_a_file_ends_as_if_it_had_been_written_at_once(happened):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        journal, tracker, epochs = fill(root), TensorBoard(Store(root)), 0
        ledger = Ledger.begin(journal)
        file = root / "tensorboard/skd-seed=1-a1/events.out.tfevents.a1"

        def tell() -> None:
            tracker.write(ledger.run("a1"), told=0)

        for number, what in enumerate(happened):
            if what in ("epoch", "repeat"):
                epochs = max(1, epochs + (what == "epoch"))
                journal.epochs.write("a1", report(epochs, loss=float(number)))
            elif what == "restart":
                journal.points.start("a1")
            elif what == "fail":
                journal.points.end("a1", "failed", error="out of memory")
            elif what == "tell":
                tell()
            elif file.exists():
                file.write_bytes(file.read_bytes()[: -number - 1])
        tell()
        grown = file.read_bytes() if file.exists() else b""
        file.unlink(missing_ok=True)
        tell()
        assert grown == (file.read_bytes() if file.exists() else b"")


def test_a_failure_shows_its_reason(tmp_path):
    journal = fill(tmp_path)
    journal.points.start("b1")
    journal.points.end("b1", "failed", error="out of memory")
    follow(journal, "b1")
    shown = read(tmp_path, "ce-seed=1-b1")
    assert shown.Tensors("status/text_summary")[0].tensor_proto.string_val == [b"failed: out of memory"]
    assert shown.Tags()["scalars"] == []


def test_results_on_an_object_store_have_their_files_there(bucket):
    journal = fill(bucket)
    journal.points.start("a1")
    for epoch in (1, 2):
        journal.epochs.write("a1", report(epoch))
        follow(journal, "a1")
    shown = read(journal.store.fetch("tensorboard").parent)
    assert [step for step, _ in steps(shown, "loss")] == [1, 2]


def test_a_label_with_a_path_in_it_stays_in_the_folder(tmp_path):
    journal = fill(tmp_path)
    label = 'skd model=../../elsewhere w={"start": 1}'
    journal.points.add(replace(journal.points.description("a1"), label=label))
    journal.points.start("a1")
    journal.epochs.write("a1", report(1))
    follow(journal, "a1")
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert folder.name == "skd-model=..-..-elsewhere-w=-start-1--a1"
