"""`raykd status`, `raykd logs` and the pictures of a sweep, over results written by hand."""

import argparse
import json
import re
import shlex
import threading
import time
from dataclasses import asdict
from types import SimpleNamespace

import pytest
from rich.console import Console
from support.written_results import add, begin, finish, heartbeat, report, result

from raykd.cli import logs, main, parser
from raykd.cli.display import Events, Lines
from raykd.cli.view import View
from raykd.results.lease import Lease
from raykd.status import read_status

LONG = "posterior-top-wk-of-every-teacher T=2.25 kd_share={'start': 1, 'end': 0, 'kind': 'linear'} budget=150 seed=1"


@pytest.fixture
def journal(tmp_path):
    """A finished point, one with a long name that is under way, one that failed, one that waits."""
    journal = begin(tmp_path / "runs", "abc1", "abd2", "f3", "p4")
    add(journal, "abc1", "skd seed=1", seed=1)
    add(journal, "abd2", LONG, seed=1)
    add(journal, "f3", "bad seed=1")
    add(journal, "p4", "skd seed=2")
    finish(journal, "abc1", 61.5)
    journal.points.start("abd2", 1)
    journal.epochs.write("abd2", report(1, gpu_memory_bytes=3_200_000_000))
    journal.heartbeats.write("abd2", heartbeat(1, share=0.5))
    journal.points.start("f3", 1)
    journal.points.end(
        "f3", "failed", error="out of memory: " + "lower training.micro_batch_tokens, or share the model; " * 3
    )
    return journal


@pytest.fixture
def alive(journal):
    """A run of this process."""
    with Lease.take(journal.store):
        yield


def said(capsys, *command: str) -> str:
    assert main(command) == 0
    return capsys.readouterr().out


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    return action.choices


@pytest.mark.parametrize("command", commands())
def test_every_command_takes_json(command):
    options = {option for action in commands()[command]._actions for option in action.option_strings}
    assert "--json" in options


@pytest.mark.parametrize("command", commands())
def test_the_help_of_every_command_ends_with_examples_that_it_understands(command):
    first, *examples = commands()[command].epilog.splitlines()
    assert first == "examples:" and examples
    for example in examples:
        program, name, *words = shlex.split(example)
        assert (program, name) == ("raykd", command)
        parser().parse_args([name, *(words[: words.index("--")] if "--" in words else words)])


def test_status_in_lines_names_what_runs_and_what_failed(capsys, journal, alive):
    lines = said(capsys, "status", str(journal.store.root)).splitlines()
    assert lines[1] == "points: 1 pending, 1 running, 1 finished, 1 failed"
    assert "best: skd seed=1, G-XLT F1 61.5 on the selection set" in lines
    (running,) = [line for line in lines if line.startswith("posterior")]
    assert "running, epoch 1/3, loss 0.500, dev 21.0, 100 examples/s, 15 s left, GPU 3.2 GB, now training" in running
    assert any(line.startswith("bad seed=1: failed, out of memory") for line in lines)


def test_status_as_json_is_one_document(capsys, journal, alive):
    status = json.loads(said(capsys, "status", str(journal.store.root), "--json"))
    assert status["counts"]["running"] == 1
    assert [point["id"] for point in status["points"]] == ["abc1", "abd2", "f3", "p4"]


@pytest.mark.parametrize("command", [["status"], ["logs", "x"], ["status", "--json"]])
def test_a_place_without_results_is_refused_in_one_line(capsys, tmp_path, command):
    name, *more = command
    assert main([name, str(tmp_path / "none"), *more]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.endswith("none: not a results folder; give the folder that `raykd sweep` names, e.g. runs/NAME")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_pause_that_is_none_is_refused(capsys, seconds):
    with pytest.raises(SystemExit) as ended:
        main(["status", "runs", "--watch", seconds])
    assert ended.value.code == 2


def test_watching_ends_with_the_sweep(capsys, tmp_path):
    journal = begin(tmp_path, "a")
    add(journal, "a")

    def run() -> None:
        with Lease.take(journal.store) as lease:
            time.sleep(0.2)
            finish(journal, "a", 60.0, run=lease.number)

    thread = threading.Thread(target=run)
    thread.start()
    statuses = list(map(json.loads, said(capsys, "status", str(tmp_path), "--watch", "0.05", "--json").splitlines()))
    thread.join()
    assert statuses[0]["points"][0]["state"] == "pending"
    assert statuses[-1]["points"][0]["state"] == "finished"


def test_logs_find_a_point_by_label_id_or_its_beginning_method_or_best(capsys, journal):
    root = str(journal.store.root)
    by = [said(capsys, "logs", root, name) for name in ("skd seed=1", "abc1", "abc", "skd", "best")]
    assert by == by[:1] * 5
    assert by[0].startswith("skd seed=1 (abc1)\n  seed: 1\n")
    assert "generation 2, epoch 2/3  loss 0.500 (label 0.500, kd 0.000)  dev 22.0  100 examples/s  10 s left" in by[0]
    assert "finished, attempt 1, began" in by[0]
    assert "XLT F1 66.5, G-XLT F1 61.5" in by[0]
    assert "out of memory" in said(capsys, "logs", root, "f3")
    assert "pending" in said(capsys, "logs", root, "p4")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("skd sed=1", "no point 'skd sed=1'; nearest are 'skd seed=1'"),
        ("ab", "match 'ab': 'skd seed=1' (abc1), "),
        ("", "no point ''; nearest are"),
    ],
)
def test_a_point_that_is_none_or_several_is_refused_with_the_nearest(capsys, journal, name, message):
    assert main(["logs", str(journal.store.root), name]) == 2
    assert message in capsys.readouterr().err


def test_logs_as_json_hold_all_that_was_recorded(capsys, journal):
    document = json.loads(said(capsys, "logs", str(journal.store.root), "abc1", "--json"))
    recorded = {
        "point": asdict(journal.points.description("abc1")),
        "epochs": [asdict(each) for each in journal.epochs.of("abc1")],
        "result": asdict(journal.points.result("abc1")),
    }
    assert {name: document[name] for name in recorded} == json.loads(json.dumps(recorded))
    assert document["status"]["state"] == "finished"


def test_following_shows_each_epoch_once_and_ends_with_the_point(capsys, monkeypatch, journal, alive):
    """It goes on whenever the command waits for it."""
    epochs = iter((2, 3))

    def go_on(seconds: float) -> None:
        epoch = next(epochs, None)
        if epoch is not None:
            journal.epochs.write("abd2", report(epoch))
        else:
            journal.points.write_result(result("abd2", 70.0))
            journal.points.end("abd2", "finished")

    monkeypatch.setattr(logs, "sleep", go_on)
    events = said(capsys, "logs", str(journal.store.root), "abd2", "--follow", "--json").splitlines()
    told = [json.loads(line) for line in events]
    assert [each["event"] for each in told] == ["point", "state", "epoch", "epoch", "epoch", "state", "result"]
    assert [each["epoch"] for each in told if each["event"] == "epoch"] == [1, 2, 3]
    assert [each["state"] for each in told if each["event"] == "state"] == ["running", "finished"]


@pytest.mark.parametrize("width", [72, 80, 120])
@pytest.mark.parametrize("all_points", [False, True])
def test_the_picture_keeps_to_its_width_and_names_what_matters(journal, alive, width, all_points):
    console = Console(width=width, height=24, record=True, file=open("/dev/null", "w"), highlight=False)  # noqa: SIM115
    console.print(View(read_status(journal.store.root), all_points=all_points))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "1 running" in text
    assert "G-XLT F1 61.5" in text
    # Both ends of a long label are there, in one line.
    (line,) = [line for line in lines if line.startswith("poster")]
    assert re.match(r"poster\S*.*….*eed=1 ", line)
    assert "3.2 GB" in text
    assert "failed  bad seed=1: out of memory" in text
    assert "epochs" in lines[-1]


def test_a_picture_of_many_running_points_leaves_room_for_the_rest(tmp_path):
    journal = begin(tmp_path, *(f"p{number}" for number in range(50)))
    with Lease.take(journal.store) as lease:
        for number in range(50):
            add(journal, f"p{number}")
            journal.points.start(f"p{number}", lease.number)
        console = Console(width=80, height=24, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(View(read_status(tmp_path)))
    lines = console.export_text().splitlines()
    assert len(lines) < 24
    assert any("more run" in line for line in lines)
    assert "0/150" in lines[-1]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_leaderboard_as_a_table_keeps_to_its_width(capsys, monkeypatch, tmp_path, width):
    monkeypatch.setenv("COLUMNS", str(width))
    journal = begin(tmp_path, "a", "b")
    add(journal, "a", "skd seed=1", seed=1, **{"distillation.kd_weight": {"start": 1, "end": 0}, "data.budget": 128})
    add(journal, "b", "bad seed=1")
    finish(journal, "a", 61.5)
    journal.points.start("b")
    journal.points.end(
        "b", "failed", error="out of memory: " + "lower training.micro_batch_tokens [or] share the model; " * 3
    )
    lines = said(capsys, "leaderboard", str(tmp_path), "--format", "table").splitlines()
    assert max(map(len, lines)) <= width
    assert "G-XLT" in lines[1] + lines[2]
    assert any("61.5" in line for line in lines)
    assert any(line.startswith("failed: bad seed=1: out of memory") for line in lines)
    assert "[or]" in " ".join(lines)


def test_the_leaderboard_as_json_names_failures_and_the_cells_of_the_best(capsys, journal):
    board = json.loads(said(capsys, "leaderboard", str(journal.store.root), "--json", "--cells"))
    assert (board["main"], board["best"]["id"]) == ("gxlt_f1", "abc1")
    assert [failure.split(":")[0] for failure in board["failures"]] == ["bad seed=1"]
    assert len(board["rows"]) == 1


POINT = SimpleNamespace(id="a1", label="skd seed=1")


def test_quiet_tells_failures_alone(capsys):
    with Lines(quiet=True) as shown:
        shown.begin("tiny", 2, "runs/tiny")
        shown.epoch(POINT, report(1))
        shown.ended(POINT, "finished", "G-XLT F1 60.0")
        shown.ended(POINT, "failed", "out of memory")
    assert capsys.readouterr().out == "skd seed=1: failed, out of memory\n"


def test_events_are_alone_on_standard_output(capsys):
    with Events() as shown:
        shown.begin("tiny", 2, "runs/tiny")
        print("what a library says")
        shown.epoch(POINT, report(1))
        shown.waiting(["no GPU"])
        shown.ended(POINT, "finished", "G-XLT F1 60.0")
    told = capsys.readouterr()
    events = list(map(json.loads, told.out.splitlines()))
    assert [event["event"] for event in events] == ["begin", "epoch", "waiting", "ended"]
    assert events[1]["report"]["epoch"] == 1
    assert told.err == "what a library says\n"
