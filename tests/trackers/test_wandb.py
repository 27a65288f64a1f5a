"""Runs of Weights & Biases in its offline files, read record by record, and a site that does not answer."""

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.tracked_sweep import fill, finish, report, trackers

from raykd.config.trackers import TrackersConfig, WandbConfig
from raykd.errors import ConfigError
from raykd.results.journal import Journal
from raykd.trackers import check_trackers
from raykd.trackers.run import TrackedSweep

BLOCK, FULL, LAST = 32768, 1, 4
KEY = "0" * 40
TESTS = str(Path(__file__).parents[1])


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """Neither the account nor the folders of whoever runs the tests."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))


def records(file: Path) -> Iterator[Any]:
    """The records of a `.wandb` file, a log in blocks as LevelDB writes it, after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = file.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (FULL, LAST):
            yield Record.FromString(parts)
            parts = b""


class Runs:
    """What the offline files of a folder say, in the order in which they were written."""

    def __init__(self, root: Path) -> None:
        files = sorted((root / "wandb").glob("offline-run-*/*.wandb"))
        self.records = [self._whole(file) for file in files]

    def _whole(self, file: Path) -> list[Any]:
        """W&B's own process may write the end of a file after the run has ended here."""
        ends = time.monotonic() + 20
        while not (found := list(records(file))) or not found[-1].HasField("exit"):
            assert time.monotonic() < ends, f"{file} has no end"
            time.sleep(0.05)
        return found

    def of(self, kind: str) -> list[Any]:
        return [getattr(each, kind) for run in self.records for each in run if each.WhichOneof("record_type") == kind]

    def history(self, name: str) -> list[tuple[int, float]]:
        found = []
        for each in self.of("history"):
            items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in each.item}
            found += [(items["_step"], items[name])] if name in items else []
        return found

    def settings(self, kind: str, field: str = "update") -> dict[str, Any]:
        updates = [update for each in self.of(kind) for update in getattr(each, field)]
        return {update.key or update.nested_key[0]: json.loads(update.value_json) for update in updates}


def follow(journal: Journal, *point_ids: str) -> list[str]:
    """One run of a sweep that hears of some points; what it said."""
    said: list[str] = []
    with trackers(journal, said, wandb={"project": "mine", "mode": "offline"}) as heard:
        for point_id in point_ids:
            heard.changed(point_id)
    return said


def test_a_point_is_a_run_with_its_knobs_curves_and_scores(tmp_path, capfd):
    journal = fill(tmp_path)
    journal.points.start("a1")
    for epoch in (1, 2, 3):
        journal.epochs.write("a1", report(epoch))
    finish(journal, "a1")
    assert follow(journal, "a1") == []
    runs = Runs(tmp_path)
    (run,) = runs.of("run")
    assert run.run_id == journal.store.read_record("tracked.json", TrackedSweep).id + "-a1"
    assert (run.project, run.display_name, run.run_group, run.job_type) == ("mine", "skd seed=1", "tiny", "skd")
    assert list(run.tags) == ["skd", "qa"]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {"distillation.temperature": 2.0, "raykd.point": "a1", "version.raykd": "1.2"}.items() <= config.items()
    assert runs.history("loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    summary = runs.settings("summary")
    assert (summary["final/gxlt_f1"], summary["final/cells/en-de/f1"]) == (60.0, 40.0)
    assert summary["status"] == "finished"
    assert [each.exit_code for each in runs.of("exit")] == [0]
    assert capfd.readouterr() == ("", "")


def test_a_run_goes_on_under_its_id_with_the_epochs_it_does_not_have(tmp_path):
    journal = fill(tmp_path)
    journal.points.start("a1")
    journal.epochs.write("a1", report(1))
    follow(journal, "a1")
    journal.epochs.write("a1", report(2))
    journal.points.start("a1")
    journal.epochs.write("a1", report(3))
    journal.points.end("a1", "failed", error="out of memory")
    follow(journal)
    follow(journal)
    runs = Runs(tmp_path)
    assert [each.exit_code for each in runs.of("exit")] == [255, 1]
    assert len({run.run_id for run in runs.of("run")}) == 1
    assert [step for step, _ in runs.history("loss")] == [1, 2, 3]
    assert runs.settings("summary")["error"] == "out of memory"


def test_points_side_by_side_are_runs_of_their_own(tmp_path):
    journal = fill(tmp_path)
    with trackers(journal, wandb={"mode": "offline"}) as heard:
        for epoch in (1, 2):
            for point_id in ("a1", "b1"):
                journal.points.start(point_id)
                journal.epochs.write(point_id, report(epoch))
                heard.changed(point_id)
    runs = Runs(tmp_path)
    assert sorted(run.display_name for run in runs.of("run")) == ["ce seed=1", "skd seed=1"]
    assert sorted(step for step, _ in runs.history("loss")) == [1, 1, 2, 2]


HURRY = """
import sys, time
from pathlib import Path
from support.tracked_sweep import fill, report, trackers

journal, said = fill(Path(sys.argv[1])), []
journal.points.start("a1")
journal.epochs.write("a1", report(1))
with trackers(journal, said, wandb={"mode": "online"}) as heard:
    heard.changed("a1")
sys.stdout.write("\\n".join(said))
"""


def test_a_site_that_does_not_answer_costs_lines_and_a_few_seconds(tmp_path, monkeypatch, no_server):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", no_server)
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # the process that serves this one
    started = time.monotonic()
    command, environment = [sys.executable, "-c", HURRY, str(tmp_path)], {**os.environ, "PYTHONPATH": TESTS}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True, env=environment)
    assert time.monotonic() - started < 40
    *_, last = ended.stdout.splitlines()
    assert last == "wandb: some updates were not sent; rerun to send them"
    assert ended.stderr == ""
    # What an offline run is told next is all of it.
    follow(Journal.at(tmp_path))
    assert [step for step, _ in Runs(tmp_path).history("loss")] == [1]


def test_nobody_logged_in_is_found_before_anything_starts(tmp_path, monkeypatch):
    online, offline = (TrackersConfig(wandb=WandbConfig(mode=mode)) for mode in ("online", "offline"))
    check_trackers(offline)
    with pytest.raises(ConfigError, match=r"trackers.wandb: not logged in; run `wandb login`"):
        check_trackers(online)
    with pytest.raises(ConfigError, match="not logged in"):
        check_trackers(TrackersConfig(wandb=WandbConfig()))
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    (tmp_path / "netrc").chmod(0o600)
    check_trackers(online)
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    check_trackers(online)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY")
    check_trackers(TrackersConfig(wandb=WandbConfig()))
