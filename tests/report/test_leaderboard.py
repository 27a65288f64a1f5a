import csv
import io
import json

import pytest
from support.written_results import base_scores, description, result, scores_of

from raykd.errors import ArtifactError, ConfigError
from raykd.report.leaderboard import GENERATION_ZERO, Leaderboard, Row, failures, leaderboard, matrix, render
from raykd.results.journal import Journal
from raykd.results.records import read_records
from raykd.results.sweep import SweepDescription
from raykd.tasks.outcomes import Scores

BASE = "base-tiny"
COLUMNS = {
    "xlt_f1": "XLT F1",
    "gxlt_f1": "G-XLT F1",
    "gxlt_off_diagonal_f1": "off-diagonal F1",
    "xlt_exact_match": "XLT EM",
    "gxlt_exact_match": "G-XLT EM",
}


def add(journal: Journal, point_id: str, method: str, *, seed: int, score: float | None = None, seconds=10.0, **varied):
    """A point, finished where it has a score: XLT F1 is 5 above the G-XLT F1, the exact matches are half of both."""
    described = description(
        point_id,
        method,
        label=f"{method}, seed {seed}",
        varied={**varied, "seed": seed},
        base=BASE,
        config={"base": {"model": "builtin:tiny"}},
    )
    journal.points.add(described)
    if score is None:
        return
    values = {
        "xlt_f1": score + 5,
        "gxlt_f1": score,
        "gxlt_off_diagonal_f1": None,
        "xlt_exact_match": (score + 5) / 2,
        "gxlt_exact_match": score / 2,
    }
    finish(journal, point_id, scores_of(values, COLUMNS), seconds=seconds)


def finish(journal: Journal, point_id: str, scores: Scores, *, seconds: float) -> None:
    """Let a recorded point come to its end."""
    journal.points.start(point_id)
    journal.points.write_result(result(point_id, scores, seconds=seconds))
    journal.points.end(point_id, "finished")


@pytest.fixture
def folder(tmp_path):
    """Two methods: `skd` at two temperatures with three and one finished seeds, `ce` with none."""
    journal = Journal.at(tmp_path)
    key = "distillation.temperature"
    add(journal, "a1", "skd", seed=1, score=60.0, seconds=10.0, **{key: 2.0})
    add(journal, "a2", "skd", seed=2, score=62.0, seconds=20.0, **{key: 2.0})
    add(journal, "a3", "skd", seed=3, score=67.0, seconds=30.0, **{key: 2.0})
    add(journal, "b1", "skd", seed=1, score=64.0, **{key: 4.0})
    add(journal, "b2", "skd", seed=2, **{key: 4.0})
    add(journal, "b3", "skd", seed=3, **{key: 4.0})
    add(journal, "c1", "ce", seed=1)
    add(journal, "c2", "ce", seed=2)
    add(journal, "old", "skd", seed=9, score=99.0, **{key: 2.0})  # of an earlier version of the file
    journal.points.start("b2")
    journal.points.start("b3")
    journal.points.end("b3", "failed", error="out of memory")
    journal.points.start("c1")
    points = ("a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2")
    journal.sweep.write(SweepDescription(name="few-shot", points=points))
    final = {"xlt_f1": 55.0, "gxlt_f1": 50.0, "gxlt_off_diagonal_f1": 48.0, "xlt_exact_match": 40.0}
    scores = scores_of({**final, "gxlt_exact_match": 30.0}, COLUMNS)
    journal.store.write_record("scores/x.json", base_scores(scores, base=BASE))
    journal.store.write_record("scores/y.json", base_scores(scores_of({}), base="of another sweep"))
    return tmp_path


def test_rows_come_best_first_and_those_without_a_result_last(folder):
    rows = leaderboard(folder).rows
    assert [(row.method, row.mean["gxlt_f1"]) for row in rows] == [
        ("skd", 63.0),
        ("skd", 64.0),  # by one seed of three
        (GENERATION_ZERO, 50.0),
        ("ce", None),
    ]


def test_a_row_holds_mean_and_sample_deviation_over_its_seeds(folder):
    row = leaderboard(folder).rows[0]
    assert row.varied == {"distillation.temperature": 2.0}
    assert row.num_seeds == 3
    # 60, 62, 67: mean 63, squared distances 9 + 1 + 16 = 26, divided by 2: 13.
    assert row.mean == {
        "xlt_f1": 68.0,
        "gxlt_f1": 63.0,
        "gxlt_off_diagonal_f1": None,
        "xlt_exact_match": 34.0,
        "gxlt_exact_match": 31.5,
    }
    assert row.deviation["gxlt_f1"] == pytest.approx(13**0.5)
    assert row.deviation["gxlt_exact_match"] == pytest.approx(13**0.5 / 2)
    assert row.deviation["gxlt_off_diagonal_f1"] is None
    assert row.seconds == 20.0
    assert row.unfinished == {}


def test_one_seed_has_no_deviation_and_unfinished_ones_are_counted_by_status(folder):
    row = leaderboard(folder).rows[1]
    assert (row.num_seeds, row.mean["gxlt_f1"], row.deviation["gxlt_f1"]) == (1, 64.0, None)
    assert row.unfinished == {"running": 1, "failed": 1}


def test_a_configuration_without_a_result_is_shown(folder):
    row = leaderboard(folder).rows[-1]
    assert (row.method, row.num_seeds, row.seconds) == ("ce", 0, None)
    assert row.mean == dict.fromkeys(COLUMNS)
    assert row.unfinished == {"running": 1, "pending": 1}


def test_generation_0_is_a_row_of_its_own_without_seeds(folder):
    row = leaderboard(folder).rows[2]
    assert (row.method, row.varied, row.mean["xlt_f1"]) == (GENERATION_ZERO, {}, 55.0)
    assert row.deviation == dict.fromkeys(COLUMNS)


def test_a_sweep_that_has_not_begun_has_rows_without_numbers(tmp_path):
    journal = Journal.at(tmp_path)
    journal.sweep.write(SweepDescription(name="few-shot", points=("a1",)))
    add(journal, "a1", "skd", seed=1)
    (row,) = leaderboard(tmp_path).rows
    assert row.unfinished == {"pending": 1}


def test_a_folder_without_a_sweep_says_so(tmp_path):
    with pytest.raises(ConfigError, match="not a results folder"):
        leaderboard(tmp_path)


def test_failures_name_the_point_and_the_reason(folder):
    assert failures(read_records(folder)) == ["skd, seed 3: out of memory"]


def test_the_leaderboard_as_markdown(folder):
    assert render(leaderboard(folder), "markdown").splitlines() == [
        "| method | temperature | XLT F1 | G-XLT F1 | off-diagonal F1 | XLT EM | G-XLT EM | seeds | s/point |",
        "|---|---|---|---|---|---|---|---|---|",
        "| skd | 2 | 68.0 ± 3.6 | 63.0 ± 3.6 | - | 34.0 ± 1.8 | 31.5 ± 1.8 | 3 | 20 |",
        "| skd | 4 | 69.0 | 64.0 | - | 34.5 | 32.0 | 1 (1 failed, 1 running) | 10 |",
        "| generation 0 | - | 55.0 | 50.0 | 48.0 | 40.0 | 30.0 | - | - |",
        "| ce | - | - | - | - | - | - | 0 (1 pending, 1 running) | - |",
    ]


def test_the_leaderboard_as_csv(folder):
    lines = list(csv.DictReader(io.StringIO(render(leaderboard(folder), "csv"))))
    assert len(lines) == 4
    assert lines[0]["method"] == "skd"
    assert lines[0]["temperature"] == "2.0"
    assert float(lines[0]["gxlt_f1_mean"]) == 63.0
    assert float(lines[0]["gxlt_f1_std"]) == pytest.approx(13**0.5)
    assert (lines[0]["num_seeds"], lines[0]["seconds"]) == ("3", "20.0")
    assert lines[1]["gxlt_f1_std"] == ""
    assert lines[3]["gxlt_f1_mean"] == ""


def test_the_leaderboard_as_json(folder):
    rows = json.loads(json.dumps(leaderboard(folder).to_json()))["rows"]
    assert [Row(**row) for row in rows] == leaderboard(folder).rows


def test_two_keys_with_the_same_last_part_are_told_apart():
    empty = {"num_seeds": 0, "mean": dict.fromkeys(COLUMNS), "deviation": dict.fromkeys(COLUMNS), "seconds": None}
    varied = {"training.warmup": 0.1, "base.train.warmup": 0.2, "data.budget": "all"}
    row = Row("skd", varied, unfinished={}, **empty)
    head, _, line = render(Leaderboard("gxlt_f1", COLUMNS, [row]), "markdown").splitlines()
    assert head.startswith("| method | base.train.warmup | budget | training.warmup |")
    assert line.startswith("| skd | 0.2 | all | 0.1 |")


def test_a_schedule_is_shown_as_json():
    empty = {"num_seeds": 0, "mean": dict.fromkeys(COLUMNS), "deviation": dict.fromkeys(COLUMNS), "seconds": None}
    row = Row("skd", {"distillation.kd_weight": {"start": 1, "end": 0}}, unfinished={}, **empty)
    assert '| {"start": 1, "end": 0} |' in render(Leaderboard("gxlt_f1", COLUMNS, [row]), "markdown")


def test_the_matrix_has_question_languages_as_rows():
    cells = {"en-en": 80.0, "en-de": 70.0, "de-en": 60.04, "de-de": 65.0}
    scores = scores_of({}, cells={name: {"f1": value, "exact_match": value / 2} for name, value in cells.items()})
    assert matrix(scores).splitlines() == [
        "| question \\ context | en | de |",
        "|---|---|---|",
        "| en | 80.0 | 70.0 |",
        "| de | 60.0 | 65.0 |",
    ]
    assert matrix(scores, metric="exact_match").splitlines()[2] == "| en | 40.0 | 35.0 |"


def test_cells_of_one_language_are_a_row():
    scores = scores_of({}, cells={"en": {"f1": 80.0}, "de": {"f1": 65.04}}, is_matrix=False)
    assert matrix(scores).splitlines() == ["| en | de |", "| --- | --- |", "| 80.0 | 65.0 |"]


def test_a_language_with_a_hyphen_is_no_pair_where_the_task_has_no_pairs():
    cells = {"pt-BR": {"f1": 1.0, "accuracy": 80.0}, "en": {"f1": 2.0, "accuracy": 65.04}}
    scores = scores_of({}, metric="accuracy", cells=cells, is_matrix=False)
    assert matrix(scores).splitlines()[::2] == ["| pt-BR | en |", "| 80.0 | 65.0 |"]


def test_the_task_says_what_is_shown(tmp_path):
    journal = Journal.at(tmp_path)
    journal.sweep.write(SweepDescription(name="few-shot", points=("a1",)))
    add(journal, "a1", "crf", seed=1)
    scores = scores_of({"f1": 50.0, "f1_de": 40.0}, {"f1": "F1", "f1_de": "de"}, main="f1")
    finish(journal, "a1", scores, seconds=1.0)
    assert render(leaderboard(tmp_path), "markdown").splitlines()[2] == "| crf | 50.0 | 40.0 | 1 | 1 |"


def test_a_cell_that_was_not_scored_is_a_dash():
    scores = scores_of({}, cells={"en-en": {"f1": 80.0}, "de-de": {"f1": 65.0}})
    assert matrix(scores).splitlines()[2:] == ["| en | 80.0 | - |", "| de | - | 65.0 |"]


def test_a_result_without_cells_says_so():
    with pytest.raises(ArtifactError, match="no cells"):
        matrix(scores_of({}))
