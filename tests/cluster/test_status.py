"""What `raykd status` says while a sweep runs, compared with the records at every moment."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.status_invariants import Watcher, status_of
from support.sweep_folder import write
from support.tiny_sweeps import sweep

from raykd.errors import ConfigError
from raykd.report.leaderboard import GENERATION_ZERO, leaderboard
from raykd.results.journal import Journal
from raykd.status import StatusReader

pytestmark = pytest.mark.cluster

ROOT = Path("runs/tiny")


def best_of_leaderboard() -> float:
    """Of one seed a configuration: the main score of the best point, below all scores without one."""
    if not Journal.at(ROOT).sweep.exists():
        return -1.0
    board = leaderboard(ROOT)
    rows = [row for row in board.rows if row.num_seeds and not row.method.startswith(GENERATION_ZERO)]
    return max((row.mean[board.main] for row in rows), default=-1.0)


def test_the_status_is_true_at_every_moment_of_a_run():
    """Three points that finish and one that fails; the status is read all the time, the command about each second."""
    methods = {
        "ce": {"distillation": {"kd_weight": 0}},
        "skd": {},
        "skd-map": {"distillation": {"coefficient": "map_at_k"}},
        "bad": {"training": {"learning_rate": 1e30, "max_grad_norm": 0.0}},
    }
    keys = sweep(methods=methods, lineage={"num_generations": 4}, search={"max_concurrent": 2})
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "raykd"]
    asked = [*command, "status", str(ROOT), "--json"]
    reader, here, there, told = StatusReader(ROOT), Watcher(), Watcher(), set()
    with (
        open("events.jsonl", "w+") as events,
        open("errors", "w+") as errors,
        subprocess.Popen(
            [*command, "sweep", write(keys), "--json"], env=environment, stdout=events, stderr=errors
        ) as running,
    ):
        next_command = 0.0
        while running.poll() is None:
            try:
                before = best_of_leaderboard()
                status = reader.read()
            except ConfigError:
                assert here.last is None, "a sweep that was there is gone"
                continue
            here.see(status)
            assert before <= (status.best.score if status.best else -1.0) <= best_of_leaderboard()
            time.sleep(0.02)
            told |= {status.doing, *status.waiting, *(point.doing for point in status.points)}
            if time.monotonic() > next_command:
                said = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
                there.see(status_of(json.loads(said.stdout)))
                next_command = time.monotonic() + 1.0
        events.seek(0)
        errors.seek(0)
        happened = [json.loads(line) for line in events]
        assert running.returncode == 1, errors.read()
    last = reader.read()
    here.see(last)
    assert (last.counts["finished"], last.counts["failed"], last.run, last.is_over) == (3, 1, None, True)
    assert last.best.score == best_of_leaderboard()
    assert here.num_seen > 20
    assert there.num_seen > 3
    for words in (
        "a connection to the cluster",
        "generation 0",
        "for their turn: 2 at a time",
        "training, epoch",
    ):
        assert any(words in text for text in told if text), words

    assert happened[0]["event"] == "begin"
    assert happened[-1]["event"] == "outcome"
    assert (happened[-1]["finished"], happened[-1]["failed"]) == (3, 1)
    assert happened[-1]["leaderboard"]["rows"] == leaderboard(ROOT).to_json()["rows"]
    recorded = {point.id: list(Journal.at(ROOT).epochs.of(point.id)) for point in last.points}
    for point_id, epochs in recorded.items():
        reports = [event["report"] for event in happened if event["event"] == "epoch" and event["id"] == point_id]
        assert reports == json.loads(json.dumps([epoch.metrics() for epoch in epochs]))
        assert all(each["gpu_memory_bytes"] is None for each in reports)
        assert [each["seconds_left"] > 0 for each in reports] == [True] * 3 + [False] if reports else True
    assert {event["status"] for event in happened if event["event"] == "ended"} == {"finished", "failed"}
