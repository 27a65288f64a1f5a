"""`raykd test` on a sweep that was really run, and test sets that a plan refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.inline_sweep import run_inline
from support.tiny_sweeps import pair_sweep, sweep, tag_sweep

from raykd.cli import main
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.results.lease import Lease
from raykd.results.records import read_records

UNSEEN = {"source": {"builtin": "small-world", "num_items": 12, "share": [0.5, 1]}, "languages": ["en", "es"]}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A sweep that is done: two configurations, two seeds, half of its items held out."""
    root = tmp_path_factory.mktemp("done") / "tiny"
    keys = sweep(
        seeds=[1, 2],
        selection={"source": {"num_items": 12}, "split": 0.5},
        lineage={"num_generations": 1},
        methods={"kd": {}, "ce": {"distillation": {"kd_weight": 0}}},
    )
    keys.pop("seed")
    run_inline(keys, root)
    return root


@pytest.fixture
def root(done, tmp_path, monkeypatch) -> Path:
    """A copy of it, to be written to."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(done, tmp_path / "runs/tiny")


def file_of(**tests: Any) -> str:
    Path("more.yaml").write_text(yaml.safe_dump({"tests": tests}))
    return "more.yaml"


def told(capsys) -> list[str]:
    """Lines that raykd wrote: libraries that were imported before show their progress."""
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith(("raykd: ", "test set "))]


def test_the_sweep_scored_what_it_held_out(root, capsys):
    records = read_records(root)
    assert all([*point.tests] == ["held_out"] for point in records.points)
    assert [test.name for test in records.base_tests] == ["held_out"]
    ours, theirs = (
        {item for cell in outcomes.cells.values() for item in outcomes.items[cell.items].split()}
        for outcomes in (
            Journal.at(root).points.outcomes(records.points[0].id),
            Journal.at(root).tests.outcomes(records.points[0].id, "held_out"),
        )
    )
    assert ours and theirs and not ours & theirs
    assert main(["leaderboard", str(root)]) == 0
    said = capsys.readouterr().out
    assert "held_out: G-XLT F1" in said
    assert "nothing was chosen by held_out" in said


def test_a_further_set_is_scored_for_all_seeds_of_the_best_configuration_once(root, capsys):
    assert main(["test", str(root), "--tests", file_of(unseen=UNSEEN)]) == 0
    lines = told(capsys)
    assert [line.partition(":")[0] for line in lines] == ["test set unseen"] * 3  # generation 0 and two seeds
    tested = [point for point in read_records(root).points if "unseen" in point.tests]
    assert len({point.description.configuration for point in tested}) == 1
    assert {point.description.varied["seed"] for point in tested} == {1, 2}
    assert {*tested[0].tests["unseen"].scores.cells} == {"en-en", "en-es", "es-en", "es-es"}
    # What is there is not scored again; what is not is: so it goes on where it was cut off.
    assert main(["test", str(root), "--tests", "more.yaml"]) == 0
    assert told(capsys) == []
    Store(root).remove(Store(root).point(tested[1].id) / "tests" / "unseen")
    assert main(["test", str(root), "--tests", "more.yaml", "--all"]) == 0
    assert len(told(capsys)) == 3
    assert all("unseen" in point.tests for point in read_records(root).points)
    # Another set of this name takes its place.
    other = {**UNSEEN, "languages": ["en"]}
    assert main(["test", str(root), tested[0].label, "--tests", file_of(unseen=other), "--json"]) == 0
    found = next(point for point in read_records(root).points if point.id == tested[0].id)
    assert {*found.tests["unseen"].scores.cells} == {"en-en"}
    assert {*json.loads(capsys.readouterr().out)["tests"]} == {"held_out", "unseen"}


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        (
            {"a": {"source": {"builtin": "small-world", "num_items": 12}, "languages": ["de"]}},
            "items are in selection too",
        ),
        ({"a": {**UNSEEN, "langages": ["en"]}}, "tests.a.langages: unknown key; did you mean 'languages'?"),
        ({"a": {**UNSEEN, "languages": []}}, "tests.a.languages: got []; number of values must be at least 1"),
        ({"held_out": UNSEEN}, "tests.held_out: selection.split makes a test set of this name"),
        ({"a/b": UNSEEN}, "tests.a/b: a name is letters, digits"),
        ({"a": {**UNSEEN, "source": {"path": "nowhere.json"}}}, "nowhere.json: not found"),
    ],
)
def test_a_set_that_is_wrong_is_one_line_and_nothing_is_scored(root, capsys, tests, said):
    before = read_records(root)
    assert main(["test", str(root), "--tests", file_of(**tests)]) == 2
    (line,) = told(capsys)
    assert said in line
    assert read_records(root) == before


def test_what_cannot_be_tested_says_why(root, capsys):
    assert main(["test", "nowhere"]) == 2
    assert "not a results folder" in told(capsys)[0]
    assert main(["test", str(root), "kd sed=1"]) == 2
    assert "nearest are 'kd seed=1'" in told(capsys)[0]
    assert main(["test", str(root), "kd", "--all"]) == 2
    assert told(capsys) == ["raykd: name points or give --all, not both"]
    Path("none.yaml").write_text("name: x\n")
    assert main(["test", str(root), "--tests", "none.yaml"]) == 2
    assert told(capsys) == ["raykd: none.yaml: needs a section `tests` with a name for each test set"]
    with Lease.take(Store(root)):
        assert main(["test", str(root), "--tests", file_of(unseen=UNSEEN)]) == 2
    assert "runs/tiny" in told(capsys)[-1]
    for point in read_records(root).points:
        Store(root).remove_weights(point.result.artifact)
    assert main(["test", str(root), "--tests", "more.yaml"]) == 2
    assert "the weights of" in told(capsys)[0]


PAIRS = {"source": {"builtin": "small-world", "num_items": 12}, "languages": ["de"]}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        # Parallel ids count in every language: the items of the selection set, in a language that it does not have.
        (sweep(tests={"a": {"source": {"builtin": "small-world", "num_items": 20}, "languages": ["de"]}}), "4 of its"),
        (
            tag_sweep(tests={"a": {"source": {"builtin": "small-world", "num_items": 4}, "languages": ["en"]}}),
            "4 of its 4",
        ),
        (pair_sweep(tests={"a": PAIRS}), "12 of its 12"),
    ],
)
def test_a_test_set_that_shares_items_is_refused_with_how_many(tmp_path, monkeypatch, capsys, keys, said):
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(yaml.safe_dump(keys))
    assert main(["plan", "sweep.yaml"]) != 0
    lines = [line for line in "".join(capsys.readouterr()).splitlines() if "tests.a: " in line]
    assert len(lines) == 1
    assert said in lines[0] and "items are in selection too" in lines[0]


def test_files_that_are_trained_on_cannot_be_tested_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for language in ("en", "es", "no"):
        blocks = "\n\n".join(f"{language}{number} O\nLima S-LOC" for number in range(8))
        Path(f"x.{language}.txt").write_text(blocks + "\n")
    keys = tag_sweep(base={"train": None}, data={"budget": 2})
    keys["data"]["train"] = {"path": "x.{language}.txt", "share": [0, 0.6]}
    keys["tests"] = {"rest": {"source": {"path": "x.{language}.txt", "share": [0.6, 1]}, "languages": ["en", "es"]}}
    Path("sweep.yaml").write_text(yaml.safe_dump(keys))
    assert main(["plan", "sweep.yaml"]) == 0
    keys["tests"]["rest"]["source"]["share"] = [0.4, 1]
    Path("sweep.yaml").write_text(yaml.safe_dump(keys))
    capsys.readouterr()
    assert main(["plan", "sweep.yaml"]) != 0
    assert "items are in data.train too" in "".join(capsys.readouterr())
