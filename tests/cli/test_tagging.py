"""Commands on sweeps of task tagging: what is wrong is said in one line each, and nothing is started."""

from pathlib import Path

import pytest
import yaml
from support.tiny_sweeps import sweep, tag_sweep
from support.written_results import base_scores, description, result

from raykd.cli import main
from raykd.config.keys import merged
from raykd.results.journal import Journal
from raykd.results.sweep import SweepDescription
from raykd.tasks.outcomes import Scores
from raykd.tasks.tagging.summary import Kinds, summary

BLOCKS = {
    "en": ["Ada B-PER\nwrote O", "Rome B-LOC\nis O\nold O"],
    "es": ["Ana B-PER\ncorre O", "Lima B-LOC"],
    "zh": ["李 B-PER\n写 O", "北 B-LOC\n京 I-LOC"],
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty current folder, no data folder, no Hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAYKD_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def write(keys: dict) -> str:
    Path("sweep.yaml").write_text(yaml.safe_dump(keys))
    return "sweep.yaml"


def file_sweep(**changes) -> dict:
    """A sweep over files `train.LANGUAGE` and `dev.LANGUAGE` that are right as they are."""
    for split in ("train", "dev"):
        for language, blocks in BLOCKS.items():
            Path(f"{split}.{language}").write_text("\n\n".join(blocks) + "\n")
    train = {"path": "train.{language}", "builtin": None, "num_items": None}
    keys = tag_sweep(
        base={"train": {"source": train}},
        data={"train": train, "budget": "all"},
        selection={"source": {**train, "path": "dev.{language}"}},
    )
    return merged(keys, changes)


def refused(capsys, keys: dict, command: str = "sweep") -> list[str]:
    """The lines of a command that must be refused: exit code 2, no traceback, no results folder."""
    assert main([command, write(keys)]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and not Path("runs").exists()
    return [
        line.removeprefix("raykd: ").removeprefix(f"{Path.cwd()}/")
        for line in said.splitlines()
        if line.startswith("raykd: ")
    ]


# Plan and leaderboard ---------------------------------------------------------------------------------------------


def test_a_plan_counts_points_teachers_and_passes(capsys):
    keys = file_sweep(
        methods={"crf": {"distillation": {"kd_weight": 0}}, "kd": {}},
        search={"space": {"distillation.objective": ["posterior", "top_wk", "exact"]}},
        seeds=[1, 2],
    )
    assert main(["plan", write(keys), "--points"]) == 0
    said = capsys.readouterr().out
    assert "8 points of 2 methods" in said
    assert "generation 0: 2 shared base models" in said
    # One pass of the first teachers for each seed's sentences, and one later teacher of each of six points.
    assert "signals: 8 teacher passes, outputs saved" in said
    # 2 languages of 2 sentences, 2 generations, 8 points.
    assert "training: 64 examples" in said
    assert "kd objective=top_wk seed=2" in said and "crf seed=1" in said


def test_a_leaderboard_shows_each_language_and_says_what_was_never_trained_on(capsys):
    journal = Journal.at(Path("runs/tiny"))

    def scores(**languages: float) -> Scores:
        cells = {name: {"f1": value, "accuracy": 0.0} for name, value in languages.items()}
        return summary(cells, "f1", Kinds(("en", "es")))

    for number, (method, seed, zh) in enumerate([("crf", 1, 20.0), ("crf", 2, 30.0), ("kd", 1, 50.0)]):
        config = {"base": {"model": "builtin:tiny"}}
        described = description(f"p{number}", method, label=f"{method} {seed}", varied={"seed": seed}, config=config)
        journal.points.add(described)
        journal.points.start(f"p{number}")
        journal.points.write_result(result(f"p{number}", scores(en=80.0 + number, es=60.0, zh=zh), seconds=3.0))
        journal.points.end(f"p{number}", "finished")
    journal.sweep.write(SweepDescription(name="tiny", points=("p0", "p1", "p2")))
    journal.store.write_record("scores/x.json", base_scores(scores(en=90.0, es=90.0, zh=5.0)))
    assert main(["leaderboard", "runs/tiny", "--cells"]) == 0
    table, cells = capsys.readouterr().out.split("\nF1 of ")
    assert table.splitlines()[:-2] == [
        "| method | F1 | zero-shot F1 | en | es | zh (zero-shot) | seeds | s/point |",
        "|---|---|---|---|---|---|---|---|",
        "| generation 0 | 90.0 | 5.0 | 90.0 | 90.0 | 5.0 | - | - |",
        "| kd | 71.0 | 50.0 | 82.0 | 60.0 | 50.0 | 1 | 3 |",
        "| crf | 70.2 ± 0.4 | 25.0 ± 7.1 | 80.5 ± 0.7 | 60.0 ± 0.0 | 25.0 ± 7.1 | 2 | 3 |",
    ]
    assert cells.splitlines()[2:] == ["| en | es | zh |", "| --- | --- | --- |", "| 82.0 | 60.0 | 50.0 |"]


# Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["plan", "sweep"])
def test_a_missing_column_names_file_and_line(capsys, command):
    keys = file_sweep()
    Path("train.es").write_text("Ana B-PER\ncorre\n\nLima B-LOC\n")
    lines = refused(capsys, keys, command)
    assert lines == [
        "train.es: line 2: 1 space-separated columns in 'corre'; need 2; check the line, or "
        "data.columns.word and data.columns.tag"
    ]


def test_a_column_that_no_file_has_is_said_for_each_file(capsys):
    lines = refused(capsys, file_sweep(data={"columns": {"tag": 3}}))
    said = {line.partition(":")[0] for line in lines if "data.columns.tag" in line}
    assert said >= {"train.en", "train.es", "dev.en", "dev.zh"}


def test_a_tag_of_dev_outside_the_labels_of_training_names_file_and_line(capsys):
    keys = file_sweep()
    Path("dev.zh").write_text("李 B-PER\n写 O\n\n江 B-RIV\n")
    (line,) = refused(capsys, keys)
    assert line.startswith("dev.zh: line 4: tag 'S-RIV' is not one of B-LOC, B-PER, ")


def test_a_tag_of_the_teachers_outside_the_labels_of_training_names_file_and_line(capsys):
    keys = file_sweep(base={"train": {"source": {"path": "teach.{language}"}}})
    for language in ("en", "es"):
        Path(f"teach.{language}").write_text("Nilo B-RIV\n" if language == "es" else "Ada B-PER\n")
    (line,) = refused(capsys, keys)
    assert line.startswith("teach.es: line 1: tag 'S-RIV' is not one of ")


@pytest.mark.parametrize("file", ["train.en", "dev.zh"])
def test_an_empty_language_is_named(capsys, file):
    keys = file_sweep()
    Path(file).write_text("\n\n")
    assert f"{file}: no sentences" in refused(capsys, keys)


def test_an_illegal_sequence_names_what_mends_it(capsys):
    keys = file_sweep(data={"columns": {"scheme": "iob2"}})
    Path("train.en").write_text("Ada B-PER\nthe O\nRome I-LOC\n")
    lines = refused(capsys, keys)
    assert any(
        "train.en: line 3: tag 'I-LOC' cannot follow 'O' in iob2; data.columns.bad_sequences: repair" in line
        for line in lines
    )


def test_a_language_that_the_builtin_world_does_not_know(capsys):
    lines = refused(capsys, tag_sweep(data={"languages": ["en", "xx"]}))
    assert any("language: got 'xx'" in line for line in lines)
    assert len(lines) <= 2


def test_a_language_without_a_file_says_what_was_tried(capsys):
    lines = refused(capsys, file_sweep(data={"languages": ["en", "xx"]}))
    assert any(line.startswith("train.xx: not found; tried") and "RAYKD_DATA" in line for line in lines)


def test_a_budget_beyond_a_language_names_it(capsys):
    lines = refused(capsys, file_sweep(data={"budget": 5}))
    assert lines == [f"{name}: budget 5: 2 items are available; give 1 to 2, or 'all'" for name in ("en", "es")]


def test_rows_that_no_language_has_are_refused(capsys):
    keys = file_sweep(data={"train": {"rows": [2, 9]}})
    assert any("rows 2 to 9 have no sentence of en, es (2, 2 there)" in line for line in refused(capsys, keys))


@pytest.mark.parametrize("make", [sweep, file_sweep])
def test_a_test_set_that_is_not_there_is_found_out_before_the_start(capsys, make):
    lines = refused(capsys, make(tests={"more": {"source": {"path": "choose.{language}"}, "languages": ["en"]}}))
    assert any(line.startswith("choose.en: not found") for line in lines)


def test_a_key_of_the_other_task_is_refused(capsys):
    keys = tag_sweep(distillation={"coefficient": "map_at_k"})
    assert refused(capsys, keys) == [
        "sweep.yaml: distillation.coefficient: task tagging does not have this key; remove it"
    ]


def test_a_live_teacher_is_refused_in_one_line(capsys):
    keys = tag_sweep(distillation={"signals": "live"})
    assert len(refused(capsys, keys)) == 1
