"""Results as data frames, of folders in every state."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from support.tiny_sweeps import pair_point, point, sweep, tag_point
from support.written_results import base_scores, description, report, result, scores_of

import raykd
from raykd.config.digest import dump
from raykd.errors import ArtifactError, ConfigError, DataError
from raykd.plan.file import sweep_of
from raykd.results.artifacts import ArtifactRecord
from raykd.results.journal import Journal
from raykd.results.points import GenerationRecord
from raykd.results.sweep import SweepDescription
from raykd.tasks.outcomes import CellOutcomes, Outcomes, Scores

CELLS = {"en-en": {"f1": 80.0, "num_questions": 4}, "en-zh": {"f1": 40.0, "num_questions": 4}}
REPORT = report(
    1,
    of=2,
    label_loss=0.25,
    kd_loss=0.25,
    parts={"word": 0.125},
    dev_score=40.0,
    watched={"cosine": 0.5},
    teachers=("base",),
    losses=[[0.5, 0.25, 0.25]],
)


def qa_scores(gxlt_f1: float, cells=None) -> Scores:
    return scores_of({"xlt_f1": 70.0, "gxlt_f1": gxlt_f1}, cells=cells or CELLS)


def add(journal: Journal, point_id: str, method: str, *, seed: int, config=None, **varied) -> None:
    config = (config or point()).config
    journal.points.add(
        description(
            point_id,
            method,
            label=f"{method} seed={seed}",
            varied={**varied, "seed": seed},
            base="base",
            config=dump(config),
        )
    )


def finish(journal: Journal, point_id: str, scores: Scores) -> None:
    journal.points.start(point_id)
    journal.epochs.write(point_id, REPORT)
    journal.points.write_generations(point_id, (GenerationRecord(1, "abc", 40.0),))
    journal.points.write_result(result(point_id, scores, seconds=7.0, train_seconds=5.0, artifact="abc"))
    journal.points.end(point_id, "finished")


@pytest.fixture
def results(tmp_path) -> raykd.Results:
    """Two finished points, one that failed, one that is at work, and a generation 0."""
    journal = Journal.at(tmp_path)
    key = "distillation.kd_weight"
    for number in range(4):
        add(journal, f"a{number}", "skd", seed=number, **{key: {"start": 1, "end": 0}})
    journal.sweep.write(SweepDescription(name="tiny", points=("a0", "a1", "a2", "a3")))
    finish(journal, "a0", qa_scores(60.0))
    finish(journal, "a1", qa_scores(64.0))
    journal.points.start("a2")
    journal.points.end("a2", "failed", error="out of memory")
    journal.points.start("a3")
    journal.epochs.write("a3", replace(REPORT, loss=0.75))
    base = qa_scores(20.0, {"en-en": {"f1": 30.0, "num_questions": 4}})
    journal.store.write_record("scores/x.json", base_scores(base, base="base"))
    return raykd.load(tmp_path)


def test_a_row_for_each_point_with_what_became_of_it(results):
    assert list(results.points.columns) == [
        *("id", "method", "label", "distillation.kd_weight", "seed", "status", "score", "xlt_f1", "gxlt_f1"),
        *("seconds", "train_seconds", "attempts", "error"),
    ]
    frame = results.points.set_index("id")
    assert frame["status"].to_dict() == {"a0": "finished", "a1": "finished", "a2": "failed", "a3": "running"}
    assert frame["score"].dropna().to_dict() == {"a0": 60.0, "a1": 64.0}
    assert frame.loc["a2", "error"] == "out of memory"
    assert frame.loc["a0", ["seed", "attempts", "seconds", "train_seconds"]].to_list() == [0, 1, 7.0, 5.0]
    # A schedule can be grouped by.
    assert results.points.groupby("distillation.kd_weight")["score"].mean().to_dict() == {'{"start": 1, "end": 0}': 62}


def test_a_row_for_each_epoch_of_whatever_point(results):
    frame = results.epochs
    assert frame[["point", "epoch", "loss", "seed"]].to_numpy().tolist() == [
        *(["a0", 1, 0.5, 0], ["a1", 1, 0.5, 1], ["a3", 1, 0.75, 3])
    ]
    assert frame["parts.word"].to_list() == [0.125] * 3
    assert frame["watched.cosine"].to_list() == [0.5] * 3
    assert set(frame.columns).isdisjoint({"losses", "teachers", "num_epochs"})


def test_a_row_for_each_cell_of_finished_points(results):
    frame = results.cells
    assert frame[["point", "question_language", "context_language", "f1"]].to_numpy().tolist() == [
        *(["a0", "en", "en", 80.0], ["a0", "en", "zh", 40.0], ["a1", "en", "en", 80.0], ["a1", "en", "zh", 40.0])
    ]
    assert frame["language"].isna().all()
    assert results.base_cells[["base", "cell", "f1"]].to_numpy().tolist() == [["base", "en-en", 30.0]]


def test_a_row_for_each_generation(results):
    frame = results.generations
    assert frame[["point", "generation", "artifact", "dev_score"]].to_numpy().tolist() == [
        *(["a0", 1, "abc", 40.0], ["a1", 1, "abc", 40.0])
    ]


def test_the_leaderboard_has_mean_and_deviation_over_seeds_and_generation_0(results):
    skd, zero = results.leaderboard().to_dict("records")
    assert (skd["gxlt_f1"], skd["gxlt_f1_std"], skd["num_seeds"], skd["unfinished"]) == (62.0, 8**0.5, 2, 2)
    assert (zero["method"], zero["gxlt_f1"]) == ("generation 0", 20.0)
    assert skd["distillation.kd_weight"] == '{"start": 1, "end": 0}'


def test_the_best_point_and_any_other_by_name(results, tmp_path):
    assert (results.best.id, results.best.label, results.best.scores.main_value) == ("a1", "skd seed=1", 64.0)
    assert results.point("a0").id == results.point("skd seed=0").id == "a0"
    assert results.point("best").id == "a1"
    with pytest.raises(
        DataError, match=r"no point 'a2' in .* is finished \('skd seed=2' \(a2\) is failed: out of memory"
    ):
        results.point("a2")
    with pytest.raises(
        DataError, match=r"2 finished points in .* match 'skd': 'skd seed=0' \(a0\), 'skd seed=1' \(a1\)"
    ):
        results.point("skd")
    with pytest.raises(ArtifactError, match="skd seed=1: artifact abc has no weights"):
        results.best.model_path()
    store = Journal.at(tmp_path).store
    with store.committing("abc", lambda: ArtifactRecord(kind="generation")) as folder:
        (folder / "model.safetensors").write_bytes(b"weights")
    assert (results.best.model_path() / "model.safetensors").read_bytes() == b"weights"
    store.remove_weights("abc")
    with pytest.raises(ArtifactError, match="skd seed=1: artifact abc has no weights"):
        results.best.model_path()


def test_outcomes_of_single_examples(results, tmp_path):
    assert list(results.outcomes("a0").columns) == ["cell", "item", "value"]
    assert results.outcomes("a0").empty
    journal = Journal.at(tmp_path)
    items = {"x": "q1 q2", "y": "s1"}
    cells = {"en-en": CellOutcomes("x", [100.0, 50.0])}
    outcomes = Outcomes(statistic="mean", unit="question", scores={}, cells=cells, items=items)
    journal.points.write_outcomes("a0", outcomes)
    cells = {"de": CellOutcomes("y", [[1, 2, 3]])}
    journal.points.write_outcomes("a1", replace(outcomes, statistic="f1", unit="sentence", cells=cells))
    again = raykd.load(tmp_path)
    assert again.outcomes("a0").to_numpy().tolist() == [["en-en", "q1", 100.0], ["en-en", "q2", 50.0]]
    assert again.outcomes(again.best).to_dict("records") == [
        {"cell": "de", "item": "s1", "true_positives": 1, "predicted": 2, "gold": 3}
    ]


@pytest.mark.parametrize(
    ("config", "metric"), [(tag_point(), "f1"), (pair_point(), "retrieval")], ids=["tagging", "parallel"]
)
def test_cells_of_the_other_tasks_are_languages(tmp_path, config, metric):
    journal = Journal.at(tmp_path)
    add(journal, "a1", "skd", seed=1, config=config)
    journal.sweep.write(SweepDescription(name="tiny", points=("a1",)))
    cells = {"en": {metric: 60.0}, "pt-BR": {metric: 40.0}}
    scores = {"main": "mean", "metric": metric, "cells": cells, "is_matrix": False}
    finish(journal, "a1", scores_of({"mean": 50.0}, {"mean": metric}, **scores))
    frame = raykd.load(tmp_path).cells
    assert frame[["language", metric]].to_numpy().tolist() == [["en", 60.0], ["pt-BR", 40.0]]
    assert frame["question_language"].isna().all()


@pytest.mark.parametrize("has_points", [True, False])
def test_frames_of_a_sweep_that_has_not_begun_are_empty_and_have_their_columns(results, tmp_path, has_points):
    journal = Journal.at(tmp_path / "other")
    if has_points:
        add(journal, "a1", "skd", seed=1, **{"data.budget": 8})
    journal.sweep.write(SweepDescription(name="tiny", points=("a1",) if has_points else ()))
    empty = raykd.load(tmp_path / "other")
    assert len(empty.points) == has_points
    for name in ("epochs", "cells", "generations", "base_cells"):
        frame = getattr(empty, name)
        assert isinstance(frame, pd.DataFrame) and frame.empty
        # What tasks and methods add comes with the rows.
        assert set(frame.columns) - {"data.budget"} <= set(getattr(results, name).columns)
        assert frame.columns.is_unique
    assert {"loss", "dev_score", "epoch", "seed"} <= set(empty.epochs.columns)
    assert {"score", "status"} <= set(empty.points.columns)
    assert len(empty.leaderboard()) == has_points
    assert empty.best is None
    assert empty.main_score is None


def test_a_folder_without_a_sweep_says_so(tmp_path):
    with pytest.raises(ConfigError, match="not a results folder"):
        raykd.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"lineage": {"num_generations": 0}}, "sweep: lineage.num_generations: got 0;"),
        ({"lineag": {}}, "sweep: lineag: unknown key; did you mean 'lineage'?"),
        ({"seed": {1}}, "sweep: expected str, bytes or os.PathLike object, not set; use text, numbers"),
        ({"training": {"learning_rate": float("nan")}}, "sweep: Out of range float values are not JSON compliant"),
    ],
)
def test_wrong_keys_are_refused_as_a_files_are(changes, problem):
    with pytest.raises(ConfigError) as refusal:
        raykd.run_sweep(sweep(**changes))
    (line,) = refusal.value.problems
    assert line.startswith(problem)


def test_keys_from_python_may_hold_paths_and_tuples(tmp_path):
    keys = sweep(search={"space": {"data.budget": (4, 8)}}, data={"languages": ("en", "es", "zh")})
    keys["base"]["model"] = tmp_path
    config = sweep_of(keys)
    assert config.point.base.model == str(tmp_path)
    assert config.search.space["data.budget"].grid == (4, 8)


def test_what_is_handed_out_is_loaded_when_it_is_asked_for_and_known_to_type_checkers():
    program = (
        "import sys, raykd; assert not {'torch', 'ray', 'pandas', 'pydantic'} & set(sys.modules); raykd.load;"
        "assert not {'torch', 'ray', 'pandas', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    stub = ast.parse(Path(raykd.__file__).with_suffix(".pyi").read_text())
    typed = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(raykd.__all__) <= set(dir(raykd))
    assert all(hasattr(raykd, name) for name in raykd.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        raykd.lod  # noqa: B018
