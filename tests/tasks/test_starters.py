"""Sweep files to start from: they run as they stand, and every line of them that is off works once it is on."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from raykd.cli import main
from raykd.plan.file import load_sweep
from raykd.plan.points import make_plan
from raykd.plan.preview import preview
from raykd.plan.sweep import SweepKeys
from raykd.tasks import TASKS

ROOT = Path(__file__).parents[2]
OFF = re.compile(r"^(\s*)#([a-z])", re.MULTILINE)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("task", TASKS)
def test_init_writes_a_file_that_plans_and_finds_its_data(here, capsys, task):
    assert main(["init", task]) == 0
    sweep = load_sweep(here / f"{task}.yaml")
    assert (sweep.point.task, sweep.name) == (task, task)
    found = preview(make_plan(sweep), folder=here)
    assert found.problems == ()
    assert len(found.points) == 12
    said = capsys.readouterr().out
    assert f"raykd sweep {task}.yaml" in said


@pytest.mark.parametrize("task", TASKS)
def test_every_line_that_is_off_can_be_taken_in(here, task):
    text = TASKS[task].info.starter(name="x")
    marks = list(OFF.finditer(text))
    assert len(marks) >= 8
    for mark in marks:
        file = here / "on.yaml"
        file.write_text(text[: mark.start()] + mark.expand(r"\1\2") + text[mark.end() :])
        assert make_plan(load_sweep(file)).points


@pytest.mark.parametrize("task", TASKS)
def test_every_section_of_the_task_is_there(task):
    text = TASKS[task].info.starter(name="x")
    keys = yaml.safe_load(OFF.sub(r"\1\2", text))
    missing = {*SweepKeys.model_fields, *TASKS[task].point.model_fields} - set(keys)
    # seeds stand for seed; presets are the released code's.
    assert missing - {"seed", "preset"} == set()


def test_a_file_that_is_there_is_kept(here, capsys):
    Path("mine.yaml").write_text("mine")
    assert main(["init", "qa", "--output", "mine.yaml"]) == 2
    assert "mine.yaml: exists already; --force overwrites it" in capsys.readouterr().err
    assert Path("mine.yaml").read_text() == "mine"
    assert main(["init", "qa", "--output", "mine.yaml", "--force"]) == 0
    assert load_sweep(here / "mine.yaml").name == "mine"


@pytest.mark.parametrize(("file", "name"), [("a b.yaml", "a-b"), (".hidden.yaml", "hidden"), ("ü.yaml", "qa")])
def test_the_name_of_the_sweep_is_one_that_a_folder_can_have(here, file, name):
    assert main(["init", "qa", "--output", file]) == 0
    assert load_sweep(here / file).name == name


def test_init_says_as_json_what_it_wrote(here, capsys):
    assert main(["init", "tagging", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": "tagging.yaml", "name": "tagging", "task": "tagging"}


def test_a_folder_that_is_not_there_is_named(here, capsys):
    assert main(["init", "qa", "--output", "none/x.yaml"]) == 2
    assert "none/x.yaml: cannot be written: No such file or directory" in capsys.readouterr().err


def test_a_task_that_there_is_not_is_refused_with_those_that_there_are(here, capsys):
    assert main(["init", "qua"]) == 2
    assert capsys.readouterr().err == f"raykd: qua: no such task; choose one of {', '.join(TASKS)}\n"
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_the_file_is_part_of_the_package(task):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["package-data"][f"raykd.tasks.{task.name}"] == ["starter.yaml"]
