"""The commands as a user meets them: what is wrong is said in one line each, and nothing is started."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from support.tiny_sweeps import sweep

from raykd.cli import main
from raykd.config.keys import split_key, with_path
from raykd.config.yaml import parse_value
from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.models.qa import load_tokenizer, tiny_qa_model
from raykd.plan.file import load_sweep
from raykd.plan.points import make_plan
from raykd.plan.sweep import SweepKeys
from raykd.tasks import TASKS

SWEEPS = Path(__file__).parents[2] / "sweeps"
SHIPPED = sorted(SWEEPS.glob("*.yaml"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty current folder, no data folder, no Hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAYKD_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def write(keys: dict, name: str = "sweep.yaml") -> str:
    Path(name).write_text(yaml.safe_dump(keys))
    return name


def squad_file(path: Path, context: str, answer: str, start: int, number: str = "q1") -> None:
    qa = {"id": number, "question": "Who?", "answers": [{"text": answer, "answer_start": start}]}
    document = {"version": "1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": [qa]}]}]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def local_data(**languages: tuple[str, str, int]) -> dict:
    """A sweep over SQuAD files in `data/`, one per language."""
    for language, (context, answer, start) in languages.items():
        squad_file(Path("data") / f"x.{language}.json", context, answer, start)
    keys = sweep(data={"languages": ["en", "de"], "num_target_languages": 1, "budget": "all"})
    keys["data"]["train"] = {"path": "data/x.{language}.json"}
    return keys


def refused(capsys, *command: str) -> str:
    """What a command says that must be refused: exit code 2, no traceback, no results folder."""
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert not Path("runs").exists()
    return said


@pytest.mark.parametrize("command", ["plan", "sweep"])
def test_a_typo_in_a_key_names_the_key_that_was_meant(capsys, command):
    said = refused(capsys, command, write(sweep(distillation={"temprature": 2})))
    assert "sweep.yaml: distillation.temprature: unknown key; did you mean 'temperature'?" in said


def test_a_missing_sweep_file_is_named(capsys):
    assert "nowhere.yaml" in refused(capsys, "sweep", "nowhere.yaml")


def test_a_broken_json_is_named_with_its_line(capsys):
    keys = local_data(en=("Ada wrote.", "Ada", 0), de=("Ada schrieb.", "Ada", 0))
    Path("data/x.de.json").write_text('{"data": [')
    said = refused(capsys, "sweep", write(keys))
    assert "x.de.json: line 1, column" in said
    assert "not JSON" in said


def test_an_answer_offset_that_is_off_names_file_and_id(capsys):
    keys = local_data(en=("Ada wrote.", "Ada", 0), de=("Es schrieb Ada.", "Ada", 3))
    said = refused(capsys, "sweep", write(keys))
    assert "x.de.json" in said
    assert "q1" in said


def test_a_language_that_is_not_there_says_what_was_tried(capsys):
    keys = local_data(en=("Ada wrote.", "Ada", 0))
    said = refused(capsys, "sweep", write(keys))
    assert "data/x.de.json: not found; tried" in said
    assert "RAYKD_DATA" in said


def test_a_model_that_cannot_be_reached_says_what_to_do(capsys):
    said = refused(capsys, "sweep", write(sweep(base={"model": "nobody/nothing", "train": None})))
    assert "model nobody/nothing" in said
    assert "give a model folder, or connect to the Hub" in said


def test_a_model_folder_that_is_not_there_says_where_it_was_looked_for(capsys):
    said = refused(capsys, "sweep", write(sweep(base={"model": "./models/none", "train": None})))
    assert "model ./models/none: no such folder" in said


def test_a_budget_beyond_the_data_says_how_many_items_there_are(capsys):
    said = refused(capsys, "sweep", write(sweep(data={"budget": 1000})))
    assert "32" in said
    assert "1000" in said


def test_everything_that_is_wrong_is_said_at_once(capsys):
    keys = sweep(distillation={"temprature": 2, "direction": "backward"}, training={"learning_rate": -1})
    said = refused(capsys, "sweep", write(keys))
    assert [word in said for word in ("temprature", "forward_kl", "learning_rate")] == [True] * 3


def test_a_leaderboard_of_a_folder_without_a_sweep_says_so(capsys):
    assert main(["leaderboard", "empty"]) == 2
    assert "empty: not a results folder" in capsys.readouterr().err


def test_a_plan_counts_points_and_passes(capsys):
    keys = sweep(methods={"ce": {"distillation": {"kd_weight": 0}}, "skd": {}}, seeds=[1, 2])
    assert main(["plan", write(keys), "--points"]) == 0
    said = capsys.readouterr().out
    assert "4 points of 2 methods" in said
    assert "generation 0: 1 shared base model" in said
    assert "skd seed=2" in said


def test_help_answers_at_once():
    """In processor time, which other processes on the machine do not change much."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "raykd", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) < 0.25


def printed_schema(capsys) -> jsonschema.Draft202012Validator:
    """What `raykd schema` prints, to hold files against."""
    capsys.readouterr()
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_is_json_that_describes_every_section_of_every_task(capsys):
    alternatives = printed_schema(capsys).schema["oneOf"]
    described = [set(each["properties"]) for each in alternatives]
    assert described == [{*task.point.model_fields, *SweepKeys.model_fields} for task in TASKS.values()]
    for keys in described:
        assert {"base", "data", "distillation", "lineage", "search", "methods"} <= keys


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_sweep_loads_and_has_points(file):
    assert make_plan(load_sweep(file)).points


def test_the_schema_takes_every_shipped_sweep_and_every_starter(capsys):
    schema = printed_schema(capsys)
    texts = {file.name: file.read_text() for file in SHIPPED}
    texts |= {name: task.info.starter(name=name) for name, task in TASKS.items()}
    assert len(texts) > 10
    assert [name for name, text in texts.items() if not schema.is_valid(parse_value(text))] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("distilation", {}),
        ("distillation.temprature", 2),
        ("distillation.kd_weight", "much"),
        ("data.languages", []),
        ("methods.other", {"seeds": [1]}),
        ("methods.other.distillation.temprature", 2),
        ("search.space", {"distillation.temprature": [1, 2]}),
        ("task", "translation"),
        ("preset", "none"),
        ("name", None),
    ],
)
@pytest.mark.parametrize("task", TASKS)
def test_the_schema_refuses_what_is_wrong(capsys, task, key, value):
    schema, keys = printed_schema(capsys), parse_value(TASKS[task].info.starter(name="x"))
    assert schema.is_valid(keys)
    assert not schema.is_valid(with_path(keys, split_key(key), value))


@pytest.mark.parametrize(
    ("task", "key", "value"),
    [
        ("qa", "head.kind", "crf"),
        ("qa", "teacher.model", "builtin:tiny"),
        ("qa", "distillation.objective", "posterior"),
        ("tagging", "distillation.coefficient", "map_at_k"),
        ("tagging", "methods.other.distillation.coefficient", "map_at_k"),
        ("tagging", "preset", "legacy"),
        ("parallel", "data.train.rows", [0, 1]),
        ("parallel", "search.space", {"distillation.temperature": [1, 2]}),
    ],
)
def test_the_schema_refuses_a_key_of_another_task(capsys, task, key, value):
    keys = parse_value(TASKS[task].info.starter(name="x"))
    assert not printed_schema(capsys).is_valid(with_path(keys, split_key(key), value))


def test_the_released_grid_has_as_many_points_as_the_paper():
    points = make_plan(load_sweep(SWEEPS / "paper.yaml")).points
    counts = {method: sum(point.method == method for point in points) for method in {point.method for point in points}}
    assert counts == {"ce": 7, "skd": 28, "skd-map": 28, "skd-without-ce": 1, "skd-map-without-ce": 1}


def test_evaluate_scores_a_model_folder(capsys, tmp_path):
    build_tokenizer(tmp_path / "model")
    tiny_qa_model(load_tokenizer(str(tmp_path / "model")), seed=1).save_pretrained(tmp_path / "model")
    for language in ("en", "de"):
        squad_file(tmp_path / f"data/x.{language}.json", "Ada wrote in 1843.", "1843", 13)
    command = ["evaluate", "model", "--data", "data/x.{language}.json", "--languages", "en,de"]
    capsys.readouterr()  # saving the model above may print, too; what counts is what the command prints
    assert main([*command, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert set(scores["cells"]) == {"en-en", "en-de", "de-en", "de-de"}
    assert main([*command, "--diagonal"]) == 0
    said = capsys.readouterr().out
    assert "XLT F1" in said
    assert "off-diagonal" not in said

    assert main([*command, "--whole-words", "--official-predictions", "whole"]) == 0
    (answer,) = json.loads(Path("whole/en-en.json").read_text()).values()
    assert re.fullmatch(r"(\b.*\b\.?|\.)", answer) and answer in "Ada wrote in 1843."
    capsys.readouterr()

    official = ["--official-predictions", "official"]
    assert main([*command, "--predictions", "answers.json", "--n-best", "3", *official]) == 0
    rows = json.loads(Path("answers.json").read_text())
    assert [(row["question_language"], row["context_language"]) for row in rows] == [
        ("en", "en"), ("en", "de"), ("de", "en"), ("de", "de")
    ]  # fmt: skip
    scores = [answer["score"] for answer in rows[0]["answers"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    files = sorted(Path("official").iterdir())
    assert [file.name for file in files] == ["de-de.json", "de-en.json", "en-de.json", "en-en.json"]
    assert json.loads(files[-1].read_text()) == {rows[0]["id"]: rows[0]["answers"][0]["text"]}


def test_evaluate_refuses_windows_that_the_model_cannot_read(capsys, tmp_path):
    build_tokenizer(tmp_path / "model")
    tiny_qa_model(load_tokenizer(str(tmp_path / "model")), seed=1).save_pretrained(tmp_path / "model")
    squad_file(tmp_path / "data/x.en.json", "Ada wrote in 1843.", "1843", 13)
    command = ["evaluate", "model", "--data", "data/x.en.json"]
    assert main([*command, "--max-length", "384"]) == 2
    assert "--max-length 384: the model reads at most 256 tokens" in capsys.readouterr().err
    assert main([*command, "--max-length", "64", "--stride", "60"]) == 2
    assert "it leaves no room for the context in windows" in capsys.readouterr().err
    assert main(command) == 0


def test_windows_longer_than_the_model_reads_are_found_out_before_the_start(capsys, tmp_path):
    build_tokenizer(tmp_path / "model")
    tiny_qa_model(load_tokenizer(str(tmp_path / "model")), seed=1).save_pretrained(tmp_path / "model")
    file = write(sweep(base={"model": "model"}, data={"max_length": 257}))
    assert main(["plan", file]) == 2
    assert "data.max_length: got 257; model model reads at most 256 tokens" in capsys.readouterr().err


def test_a_diagonal_needs_no_parallel_ids_and_no_other_file(capsys, tmp_path):
    build_tokenizer(tmp_path / "model")
    tiny_qa_model(load_tokenizer(str(tmp_path / "model")), seed=1).save_pretrained(tmp_path / "model")
    for language in ("en", "de"):
        squad_file(tmp_path / f"own/x.{language}.json", "Ada wrote in 1843.", "1843", 13, number=f"q-{language}")
        squad_file(tmp_path / f"cells/{language}-{language}.json", "Ada wrote in 1843.", "1843", 13)
    for data in ("own/x.{language}.json", "cells/{context}-{question}.json"):
        command = ["evaluate", "model", "--data", data, "--languages", "en,de"]
        assert main([*command, "--diagonal", "--json"]) == 0
        assert set(json.loads(capsys.readouterr().out)["cells"]) == {"en-en", "de-de"}
        assert main(command) == 2
        capsys.readouterr()


def test_evaluate_refuses_a_model_whose_head_was_never_trained(capsys, tmp_path):
    build_tokenizer(tmp_path / "model")
    tiny_qa_model(load_tokenizer(str(tmp_path / "model")), seed=1).bert.save_pretrained(tmp_path / "model")
    squad_file(tmp_path / "data/x.en.json", "Ada wrote in 1843.", "1843", 13)
    assert main(["evaluate", "model", "--data", "data/x.en.json"]) == 2
    assert "no trained question-answering head" in capsys.readouterr().err


def test_evaluate_reads_a_tydiqa_file_by_the_languages_of_its_ids(capsys, tmp_path):
    build_tokenizer(tmp_path / "model")
    tiny_qa_model(load_tokenizer(str(tmp_path / "model")), seed=1).save_pretrained(tmp_path / "model")
    squad_file(tmp_path / "tydiqa.json", "Ada wrote in 1843.", "1843", 13, number="finnish--1-0")
    command = ["evaluate", "model", "--data", "tydiqa.json", "--languages"]
    assert main([*command, "fi,fi"]) == 0
    capsys.readouterr()
    assert main([*command, "fi,ko"]) == 2
    assert "no id begins with 'korean'" in capsys.readouterr().err
