"""Checkpoints of an engine that writes small files: what is kept, left out, and gone on from."""

import json
import logging
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raykd.config.point import ComputeConfig, LineageConfig
from raykd.results.artifacts import ArtifactRecord, Store, to_record
from raykd.results.journal import Journal
from raykd.results.points import GenerationRecord
from raykd.storage import no_fence
from raykd.worker.checkpoints import Checkpoints, Position
from raykd.worker.context import WorkerContext
from raykd.worker.lineage import Lineage
from raykd.worker.loop import Begun
from raykd.worker.resuming import ResumeState, load_resume_state
from raykd.worker.timer import no_notice

POINT = "p"


class Files:
    """An engine whose state is a number."""

    world_size = 1

    def __init__(self, state: int = 0) -> None:
        self.state = state

    def save(self, folder: Path) -> None:
        (folder / "state").mkdir(parents=True)
        (folder / "state" / "model.pt").write_text(f"state {self.state}")
        (folder / "about.txt").write_text("about")

    def load(self, folder: Path) -> None:
        self.state = int((folder / "state" / "model.pt").read_text().split()[1])

    def needs_universal(self, num_ranks: int) -> bool:
        return False


def of(root: Path, fence=no_fence, **compute) -> Checkpoints:
    context = WorkerContext(Store(root, fence), root)
    return Checkpoints(context, POINT, ComputeConfig(**compute), notice=no_notice)


def at(epochs: int, steps: int = 0, per_generation: int = 1) -> Position:
    generation = (epochs - (steps == 0)) // per_generation + 1
    return Position(
        generation, epochs - (generation - 1) * per_generation, epochs, Begun([[1.0, 0.5, 0.25]] * steps, 0.1)
    )


def save(root: Path, *positions: Position) -> None:
    """Save each position with its own number as the state."""
    saving = of(root)
    for number, position in enumerate(positions, start=1):
        saving.save(Files(number), position)
    saving.close()


def state_of(root: Path, lineage: Lineage | None = None) -> int | None:
    """The state that a point goes on from."""
    checkpoints = of(root)
    saved = load_resume_state(
        checkpoints, lineage or Lineage(LineageConfig(num_generations=9, student_init="previous"), "base")
    ).saved
    if saved is None:
        return None
    engine = Files()
    checkpoints.load(engine, saved)
    return engine.state


def finished(root: Path, count: int) -> None:
    """So many generations, each with its artifact."""
    store = Store(root)
    records = [GenerationRecord(index, f"artifact-{index}") for index in range(1, count + 1)]
    for record in records:
        store.write_record(f"artifacts/{record.artifact}/record.json", ArtifactRecord(kind="generation"))
    Journal(store).points.write_generations(POINT, tuple(records))


def folder(root: Path) -> Path:
    return root / of(root).folder


def names(root: Path) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in folder(root).iterdir())


def newest_file(root: Path, file: str) -> Path:
    return max(path for path in folder(root).rglob(file))


def test_the_newest_checkpoint_is_gone_on_from_and_two_are_kept(tmp_path):
    finished(tmp_path, 3)
    save(tmp_path, at(1), at(2), at(3, steps=2), at(3, steps=5))
    assert names(tmp_path) == ["0003-00000002", "0003-00000005"]
    assert state_of(tmp_path) == 4
    saved = of(tmp_path).newest(lambda position: True)
    assert saved.position == at(3, steps=5)


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing", "added"])
@pytest.mark.parametrize("file", ["model.pt", "about.txt", "rank-0000.json", "position.json"])
def test_a_damaged_checkpoint_is_left_out_with_a_line_and_the_one_before_is_used(tmp_path, caplog, damage, file):
    finished(tmp_path, 1)
    save(tmp_path, at(1), at(1, steps=3))
    path = newest_file(tmp_path, file)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "added":
        (newest_file(tmp_path, "about.txt").parent / "more.pt").write_text("more")
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"X" + content[1:])
    with caplog.at_level(logging.WARNING):
        assert state_of(tmp_path) == 1
    assert "the one before it is used" in caplog.text
    assert names(tmp_path) == ["0001-00000000"]


def test_without_a_whole_checkpoint_the_lineage_starts_again(tmp_path):
    finished(tmp_path, 2)
    save(tmp_path, at(2), at(2, steps=3))
    for path in folder(tmp_path).rglob("model.pt"):
        path.write_text("")
    lineage = Lineage(LineageConfig(num_generations=9, student_init="previous"), "base")
    assert load_resume_state(of(tmp_path), lineage) == ResumeState([], None)


def test_a_student_that_goes_on_trains_the_generations_after_its_checkpoint_again(tmp_path):
    finished(tmp_path, 3)
    lineage = Lineage(LineageConfig(num_generations=9, student_init="previous", epochs_per_generation=2), "base")
    # The end of generation 1, and the middle of generation 2, while three are recorded.
    for position, records in ((at(2, per_generation=2), 1), (at(3, steps=4, per_generation=2), 1), (at(6, 0, 2), 3)):
        of(tmp_path).drop()
        save(tmp_path, position)
        found = load_resume_state(of(tmp_path), lineage)
        assert found.saved.position == position
        assert [record.index for record in found.records] == list(range(1, records + 1))


def test_a_student_that_is_born_again_uses_a_checkpoint_of_its_own_generation_alone(tmp_path):
    finished(tmp_path, 2)
    lineage = Lineage(LineageConfig(num_generations=9, student_init="base"), "base")
    save(tmp_path, at(2))  # the end of generation 2, which is finished
    found = load_resume_state(of(tmp_path), lineage)
    assert (len(found.records), found.saved) == (2, None)
    save(tmp_path, at(2, steps=3))
    found = load_resume_state(of(tmp_path), lineage)
    assert (len(found.records), found.saved.position) == (2, at(2, steps=3))


def test_a_checkpoint_beyond_the_recorded_generations_is_not_gone_on_from(tmp_path):
    finished(tmp_path, 1)
    save(tmp_path, at(1), at(4, steps=3))
    assert state_of(tmp_path) == 1


def test_a_checkpoint_whose_best_student_is_gone_is_not_gone_on_from(tmp_path):
    finished(tmp_path, 1)
    save(tmp_path, at(1), replace(at(1, steps=3), best_artifact="nowhere", best_score=1.0))
    assert state_of(tmp_path) == 1


def test_a_finished_lineage_needs_no_checkpoint(tmp_path):
    finished(tmp_path, 3)
    save(tmp_path, at(1))
    found = load_resume_state(of(tmp_path), Lineage(LineageConfig(num_generations=3), "base"))
    assert (len(found.records), found.saved) == (3, None)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[{", b"[]"),
        *map(to_record, ({"index": 1}, [{"index": "one"}], [{"index": 2, "artifact": "artifact-2"}])),
    ],
)
def test_a_damaged_list_of_generations_starts_the_lineage_again(tmp_path, content):
    finished(tmp_path, 2)
    Store(tmp_path).write(f"points/{POINT}/generations.json", content)
    assert load_resume_state(of(tmp_path), Lineage(LineageConfig(num_generations=3), "base")) == ResumeState([], None)


def test_training_goes_on_while_a_checkpoint_is_on_its_way_and_time_alone_is_no_reason_for_another(tmp_path):
    finished(tmp_path, 1)
    free, calls = threading.Event(), []

    def fence() -> None:
        calls.append(threading.current_thread() is threading.main_thread())
        if not calls[-1]:
            assert free.wait(10)

    saving = of(tmp_path, fence, checkpoint_seconds=1e-6)
    saving.save(Files(7), at(1))
    assert of(tmp_path).newest(lambda position: True) is None
    assert not saving.is_due()
    free.set()
    saving.wait()
    assert calls == [True, False, False, False]  # the share, its record, the position
    assert state_of(tmp_path) == 7
    assert saving.is_due()
    saving.close()


def test_an_upload_that_fails_is_named_and_the_next_one_tries_again(tmp_path, caplog):
    finished(tmp_path, 1)
    saving = of(tmp_path)
    folder(tmp_path).parent.mkdir(parents=True, exist_ok=True)
    folder(tmp_path).write_text("in the way")
    saving.save(Files(1), at(1))
    with caplog.at_level(logging.ERROR):
        saving.wait()
    assert "a checkpoint was not stored" in caplog.text
    folder(tmp_path).unlink()
    saving.save(Files(2), at(1, steps=1))
    saving.close()
    assert state_of(tmp_path) == 2
    assert list((tmp_path / ".scratch").iterdir()) == []


def test_a_full_disk_is_named_as_such(tmp_path, monkeypatch):
    class Stuck(Files):
        def save(self, folder: Path) -> None:
            super().save(folder)
            raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    saving = of(tmp_path)
    with pytest.raises(RuntimeError, match="file write failed"):
        saving.save(Stuck(), at(1))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))
    with pytest.raises(OSError, match="No space left on device"):
        saving.save(Stuck(), at(1))
    assert list((tmp_path / ".scratch").iterdir()) == []


class Lost(Exception):
    pass


def test_a_run_that_loses_its_point_while_it_uploads_hears_of_it(tmp_path):
    finished(tmp_path, 1)

    def fence() -> None:
        if threading.current_thread() is not threading.main_thread():
            raise Lost

    saving = of(tmp_path, fence)
    saving.save(Files(1), at(1))
    with pytest.raises(Lost):
        saving.close()
    assert state_of(tmp_path) is None


def test_what_a_killed_run_left_half_saved_is_removed(tmp_path):
    finished(tmp_path, 1)
    left = tmp_path / ".scratch" / f"checkpoint-{POINT}-0001-00000000-abc-0"
    other = tmp_path / ".scratch" / "checkpoint-another-0001-00000000-abc-0"
    Files().save(left), Files().save(other)
    assert state_of(tmp_path) is None
    assert (left.exists(), other.exists()) == (False, True)


def test_without_checkpoints_nothing_is_saved(tmp_path):
    saving = of(tmp_path, checkpoints=False, checkpoint_seconds=0)
    assert not saving.is_due()
    saving.save(Files(1), at(1))
    saving.close()
    assert not folder(tmp_path).exists()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_happens_to_a_file_a_point_goes_on_from_what_was_saved_or_from_nothing(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("fuzzed")
    finished(root, 1)
    save(root, at(1), at(1, steps=3))
    files = sorted(path for path in folder(root).parent.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files), label="file")
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)), label="cut")
    junk = data.draw(st.one_of(st.binary(max_size=8), st.sampled_from([b"{}", b"[]", b"null", b"1", b'"x"'])))
    path.write_bytes(content[:cut] + junk + data.draw(st.sampled_from([b"", content[cut:]])))
    saved = load_resume_state(of(root), Lineage(LineageConfig(num_generations=9), "base")).saved
    expected = {2: at(1, steps=3), 1: at(1), None: None}
    assert (saved and saved.position) == expected[state_of(root)]


def test_a_position_is_json_to_the_last_bit(tmp_path):
    finished(tmp_path, 1)
    position = Position(2, 0, 1, Begun([[1 / 3, 0.1, 2.0**-40]], 1 / 7), "artifact-1", 2 / 3)
    save(tmp_path, position)
    assert of(tmp_path).newest(lambda position: True).position == position
    assert json.loads(newest_file(tmp_path, "position.json").read_text())["content"]["num_workers"] == 1
