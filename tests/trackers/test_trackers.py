"""What holds for every tracker."""

import importlib.util
import os
import re
import time
from pathlib import Path

import pytest
import yaml
from support.tiny_sweeps import sweep
from support.tracked_sweep import fill, report, trackers

from raykd.cli import main
from raykd.config.trackers import MlflowConfig, TrackersConfig, WandbConfig
from raykd.errors import ConfigError, LeaseLostError
from raykd.plan.file import load_sweep
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.storage import no_fence
from raykd.trackers import check_trackers, follower
from raykd.trackers.follower import Follower
from raykd.trackers.run import Ledger, TrackedSweep
from raykd.trackers.tensorboard import FOLDER


class Memory:
    """A tracker that remembers what it was told, and is gone while `reachable` is false."""

    name, place = "memory", "here"

    def __init__(self) -> None:
        self.runs, self.told, self.reachable, self.error = [], [], True, OSError

    def write(self, run, *, told: int) -> None:
        if not self.reachable:
            raise self.error("gone\nfor good")
        self.runs.append(run)
        self.told.append(told)

    def close(self) -> None:
        self.runs.append(None)


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def journal(tmp_path):
    return fill(tmp_path)


@pytest.fixture
def follow(memory, journal):
    """A follower of that tracker, at work."""
    started = []

    def follow(*points: str, fence=no_fence) -> Follower:
        fenced = Journal(Store(journal.store.root, fence))
        begun = Follower("memory", lambda: memory, Ledger.begin(fenced), points)
        begun.start()
        started.append(begun)
        return begun

    yield follow
    for each in started:
        each.close(0)
        each.join(10)


def until(condition) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_point_that_has_not_begun_is_nothing_to_tell(follow, memory):
    begun = follow("a1", "b1")
    begun.close(10)
    assert begun.leave()
    assert memory.runs == [None]


def test_what_was_told_is_not_told_again_and_what_came_since_is(follow, memory, journal):
    journal.points.start("a1")
    journal.epochs.write("a1", report(1))
    for _ in range(2):
        begun = follow("a1")
        begun.close(10)
        assert begun.leave()
    journal.epochs.write("a1", report(2))
    begun = follow("a1")
    begun.close(10)
    assert begun.leave()
    runs = [run for run in memory.runs if run]
    assert [[epoch.number for epoch in run.epochs] for run in runs] == [[1], [1, 2]]
    assert memory.told == [0, 1]
    memory.place = "elsewhere"
    begun = follow("a1")
    begun.close(10)
    assert begun.leave()
    assert memory.told == [0, 1, 0]


def test_a_tracker_that_is_gone_is_tried_again_and_complained_of_once(follow, memory, journal, monkeypatch):
    monkeypatch.setattr(follower, "FIRST_PAUSE", 0.05)
    memory.reachable = False
    begun = follow()
    for epoch in (1, 2):
        journal.epochs.write("a1", report(epoch))
        begun.changed("a1")
        until(lambda: begun.said)
    (line,) = begun.said
    assert line == "memory: update failed (OSError: gone ... for good); will retry, the sweep continues"
    memory.reachable = True
    until(lambda: memory.runs)
    assert len(memory.runs[0].epochs) == 2


def test_one_point_that_is_refused_is_complained_of_once_and_the_others_are_told(follow, memory, journal, monkeypatch):
    monkeypatch.setattr(follower, "FIRST_PAUSE", 0.02)
    tried = []

    def refuse(run, *, told: int) -> None:
        tried.append(run.point)
        if run.point == "a1":
            raise OSError("refused")

    memory.write = refuse
    journal.epochs.write("a1", report(1))
    begun = follow("a1")
    for epoch in (1, 2, 3):
        journal.epochs.write("b1", report(epoch))
        begun.changed("b1")
        until(lambda: tried.count("b1") == epoch)  # noqa: B023
    until(lambda: tried.count("a1") >= 3)
    assert len(begun.said) == 1


def test_an_end_with_a_tracker_that_is_gone_leaves_it_behind(follow, memory, journal):
    journal.epochs.write("a1", report(1))
    journal.epochs.write("b1", report(1))
    memory.reachable = False
    begun = follow("a1", "b1")
    begun.close(10)
    assert not begun.leave()
    assert not begun.is_alive()
    assert len(begun.said) == 1


def test_what_nobody_foresaw_ends_the_tracker_alone_and_is_said(follow, memory, journal, monkeypatch):
    unseen = []
    monkeypatch.setattr("threading.excepthook", unseen.append)
    journal.epochs.write("a1", report(1))
    memory.reachable, memory.error = False, KeyError
    begun = follow("a1")
    begun.close(10)
    assert not begun.leave()
    assert len(begun.said) == len(unseen) == 1
    assert begun.said[0].startswith("memory: tracking stopped (KeyError")


def test_a_run_that_lost_its_folder_tells_nothing_more(follow, memory, journal):
    def lost() -> None:
        raise LeaseLostError("another run took over")

    journal.store.write_record("tracked.json", TrackedSweep("tiny-1"))
    journal.epochs.write("a1", report(1))
    journal.epochs.write("b1", report(1))
    begun = follow("a1", "b1", fence=lost)
    begun.join(10)
    assert not begun.is_alive()
    assert memory.runs == []
    assert begun.said == []
    assert journal.store.children("points/a1") == ["epochs", "point.json"]


def test_what_a_damaged_record_hides_of_one_point_is_told_of_the_others(follow, memory, journal):
    for point_id in ("a1", "b1"):
        journal.epochs.write(point_id, report(1))
    journal.store.write("points/a1/epochs/0001.json", b"damaged")
    begun = follow("a1", "b1")
    begun.close(10)
    assert not begun.leave()
    assert [run.point for run in memory.runs if run] == ["b1"]
    assert "0001.json: damaged" in begun.said[0]


def test_a_missing_package_is_found_before_anything_starts(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as refusal:
        check_trackers(TrackersConfig(mlflow=MlflowConfig(), wandb=WandbConfig()))
    assert refusal.value.problems == (
        "trackers.mlflow: the package mlflow is not installed; pip install 'raykd[mlflow]', or remove the section",
        "trackers.wandb: the package wandb is not installed; pip install 'raykd[wandb]', or remove the section",
    )


def test_without_a_section_nothing_but_tensorboard_is_told(journal):
    journal.epochs.write("a1", report(1))
    with trackers(journal):
        pass
    assert not journal.store.exists(FOLDER)
    with trackers(journal, tensorboard=True):
        pass
    assert journal.store.children("points/a1/tracked") == ["tensorboard.json"]


FILE = "name: tiny\ndata: {train: {builtin: small-world, num_items: 8}}\n"
FILE += "selection: {source: {builtin: small-world, num_items: 8}}\ntrackers: "


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{mlflow: {tracking_uri: 'http://me:secret@host'}}", "trackers.mlflow.tracking_uri: no password in the URI"),
        ("{tensorbord: true}", "trackers.tensorbord: unknown key; did you mean 'tensorboard'?"),
        ("{wandb: {mode: live}}", "trackers.wandb.mode: got 'live'; must be 'online' or 'offline'"),
        ("{wandb: true}", "trackers.wandb: got true; must be a section with keys among project, entity, mode"),
    ],
)
def test_a_wrong_section_is_refused_with_its_key(tmp_path, section, problem):
    path = tmp_path / "sweep.yaml"
    path.write_text(FILE + section + os.linesep)
    with pytest.raises(ConfigError) as refusal:
        load_sweep(path)
    (line,) = refusal.value.problems
    assert line.startswith(f"{path}: {problem}")
    assert "secret" not in line


def test_a_method_cannot_have_trackers_of_its_own(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(FILE + "{}\nmethods: {ce: {trackers: {}}}\n")
    with pytest.raises(ConfigError, match=r"methods.ce.trackers: trackers belongs to the whole sweep"):
        load_sweep(path)


def test_the_section_that_the_docs_show_is_right(tmp_path):
    text = (Path(__file__).parents[2] / "docs/trackers.md").read_text()
    (section,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    path = tmp_path / "sweep.yaml"
    path.write_text(FILE.removesuffix("trackers: ") + section)
    assert load_sweep(path).trackers.mlflow.tracking_uri == "http://127.0.0.1:5000"


def test_the_command_refuses_what_the_trackers_lack(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Path("sweep.yaml").write_text(yaml.safe_dump(sweep(trackers={"mlflow": {}})))
    assert main(["sweep", "sweep.yaml"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == ["raykd: trackers.mlflow.tracking_uri: missing; set it to the server, or set MLFLOW_TRACKING_URI"]
    assert [path.name for path in Path().iterdir()] == ["sweep.yaml"]
