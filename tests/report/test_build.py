"""What a report says of sweeps in every state, before anybody renders it."""

from dataclasses import replace

import pytest
from support.fabricated_results import FAILED, FINAL, QUICKSTARTS, RUNNING, fabricate

from raykd.report.build import build
from raykd.report.document import Code, Figure, Report, Section, Table
from raykd.report.numbers import value
from raykd.report.page import as_html, as_markdown
from raykd.results.journal import Journal
from raykd.results.records import read_records
from raykd.results.sweep import SweepDescription

DATA = {
    "train": {"builtin": "small-world", "num_items": 32},
    "languages": ["en", "es"],
    "num_target_languages": 1,
}
TASKS = list(QUICKSTARTS)
SCORED = ["leaderboard", "few-shot", "significance", "languages", "training", "cost"]


def can_be_rendered(report: Report) -> None:
    assert report.title in as_html(report)
    assert as_markdown(report).startswith("# ")


def report_of(root) -> Report:
    report = build(read_records(root))
    can_be_rendered(report)
    return report


def test_a_schedule_is_said_in_words():
    assert value({"start": 1.0, "end": 0.0, "over": "generation"}) == "1 to 0 over each generation"
    stairs = {"start": 1.0, "end": 0.25, "shape": "cosine", "until": 1.0, "num_stairs": 3, "over": None}
    assert value(stairs) == "1 to 0.25 cosine in 3 stairs"


def names(report: Report) -> list[str]:
    return [section.name for section in report.sections]


def section(report: Report, name: str) -> Section:
    return next(each for each in report.sections if each.name == name)


def tables(found: Section) -> list[Table]:
    shown = [block for block in found.blocks if isinstance(block, Table)]
    return shown + [table for block in found.blocks if isinstance(block, Figure) for table in block.numbers]


def alts(found: Section) -> list[str]:
    return [picture.alt for block in found.blocks if isinstance(block, Figure) for picture in block.pictures]


def column(table: Table, heading: str) -> list[str]:
    return [row[table.headings.index(heading)] for row in table.rows]


@pytest.mark.parametrize("task", TASKS)
def test_a_finished_sweep_has_all_that_its_task_can_show(reported, task):
    report = reported(task).report
    can_be_rendered(report)
    assert names(report) == [*SCORED, "provenance"]
    assert "scores best" in report.decision[0]
    assert "above generation 0 (significant" in report.decision[1]
    assert [fact.value for fact in report.facts][2] == "12 of 12"


@pytest.mark.parametrize("task", TASKS)
def test_an_unfinished_and_partly_failed_sweep_shows_what_there_is_and_why_not_the_rest(tmp_path, task):
    states = iter([FINAL, FAILED, RUNNING, FINAL, FINAL, "pending", *[FINAL] * 6])
    points = fabricate(tmp_path / "runs", QUICKSTARTS[task], status=lambda point: next(states))
    report = report_of(tmp_path / "runs")
    assert names(report) == [*SCORED, "unfinished", "provenance"]
    assert "3 of 12 points have no result yet" in report.decision[-1]
    failed, others = tables(section(report, "unfinished"))
    assert failed.rows == ((points[1].label, "1", "CUDA out of memory"),)
    assert {row[:2] for row in others.rows} == {(points[2].label, "running"), (points[5].label, "pending")}
    done = {row[0]: row[2] for row in others.rows}
    assert done[points[2].label].startswith("1 of ")
    assert done[points[5].label] == "–"
    assert "1 failed, 1 pending, 1 running" in [fact.note for fact in report.facts]


@pytest.mark.parametrize("task", TASKS)
def test_a_sweep_without_a_finished_point_says_which_command_goes_on(tmp_path, task):
    fabricate(tmp_path / "runs", QUICKSTARTS[task], status=lambda point: "pending")
    report = report_of(tmp_path / "runs")
    assert names(report) == ["leaderboard", "significance", "unfinished", "provenance"]
    assert report.best is None
    assert "No point of 12 is finished yet" in report.decision[0]
    assert "raykd sweep" in report.decision[1]


def test_a_sweep_without_a_point_says_so(tmp_path):
    Journal.at(tmp_path).sweep.write(SweepDescription(name="nothing"))
    report = report_of(tmp_path)
    assert names(report) == ["provenance"]
    assert report.decision[0] == "The sweep has no point yet."


def test_one_budget_and_one_generation_without_a_coefficient_leave_their_figures_out(tmp_path):
    file = {
        "name": "plain",
        "base": {"model": "builtin:tiny"},
        "data": {**DATA, "budget": 8},
        "selection": {"source": {"builtin": "small-world", "num_items": 8}, "languages": ["en", "es"]},
        "lineage": {"num_generations": 1},
        "distillation": {"kd_weight": 0},
    }
    fabricate(tmp_path / "runs", file)
    report = report_of(tmp_path / "runs")
    assert names(report) == ["leaderboard", "significance", "languages", "training", "cost", "provenance"]
    captions = [block.caption for block in section(report, "training").blocks]
    assert not any("multiplied" in caption for caption in captions)
    assert "with its one seed so far" in report.decision[0]


def test_the_leaderboard_is_sorted_by_the_main_score_with_deviation_and_interval(reported):
    (table,) = tables(section(reported("qa").report, "leaderboard"))
    means = [float(cell.split(" ")[0]) for cell in column(table, "G-XLT F1")]
    assert means == sorted(means, reverse=True)
    assert len(means) == 7
    assert table.headings[2:4] == ("G-XLT F1", "95% interval")
    best = table.rows[0]
    low, high = map(float, best[3].split(" to "))
    assert low <= means[0] <= high
    assert " ± " in best[2]
    assert best[-2] == "2"


def test_cells_are_shown_as_numbers_and_as_differences_to_generation_0(reported):
    found = section(reported("qa").report, "languages")
    matrices, by_language = found.blocks
    assert len(matrices.pictures) == 9  # generation 0, the best and its gain; each rival, its gain and its distance
    assert [table.caption for table in matrices.numbers] == ["generation 0", "skd-map", "skd", "ce"]
    best, base = matrices.numbers[1], matrices.numbers[0]
    assert len(best.rows) == len(best.headings) - 1 == 6
    both = by_language.numbers[0]
    # On the diagonal of the matrix: the same number, with the difference to generation 0 behind it.
    gain = float(best.rows[1][2]) - float(base.rows[1][2])
    shown = both.rows[0][2]
    assert shown.startswith(best.rows[1][2])
    assert float(shown.split("(")[1].strip(")")) == pytest.approx(gain, abs=0.11)


@pytest.mark.parametrize("task", ["tagging", "parallel"])
def test_trained_and_zero_shot_languages_are_apart(reported, task):
    shown, config = tables(section(reported(task).report, "languages")), reported(task).points[0].config
    trained, scored = config.data.languages, config.selection.languages
    assert shown[0].headings == ("method", *(name for name in scored if name in trained))
    assert shown[1].headings == ("method", *(name for name in scored if name not in trained))
    if task == "parallel":
        assert shown[2].caption.startswith("same-subject (accuracy)")


def test_parallel_text_shows_signs_of_collapse_and_the_parts_that_were_trained(reported):
    said = alts(section(reported("parallel").report, "training"))
    assert any(text.startswith("Effective rank: ") and "from 46.7 to 40.0" in text for text in said)
    losses = [text for text in said if text.startswith("Loss of all")]
    assert "word from 0.500 to 0.500" in losses[0]
    assert "sentence" in losses[0]
    assert not any("word" in text for text in said if text.startswith("Loss of tlm-alone"))


def test_the_coefficient_is_drawn_for_methods_in_which_it_moves(reported):
    said = alts(section(reported("qa").report, "training"))
    found = [text for text in said if text.startswith("Coefficient,")]
    assert found == [f"Coefficient, budget {budget}: skd-map from 0.133 to 0.200." for budget in (16, 128)]


def test_the_coefficient_is_drawn_step_by_step_with_its_spread(reported):
    blocks = section(reported("qa").report, "training").blocks
    (figure,) = [block for block in blocks if "step by step" in block.caption]
    assert "one standard deviation over the examples of a step" in figure.caption
    epochs = reported("qa").points[0].config.num_epochs
    assert [each.alt for each in figure.pictures] == [
        f"Coefficient of skd-map, step by step: skd-map from 0.100 to {0.1 * epochs:.3f}."
    ]


def test_an_oracle_is_a_table_by_question_language(tmp_path):
    points = fabricate(tmp_path / "runs", QUICKSTARTS["qa"])
    journal = Journal.at(tmp_path / "runs")
    for point in points:
        result = journal.points.result(point.id)
        probes = {"oracle_f1": {"en": {"top_1": 40.0, "top_2": 60.0}, "es": {"top_1": 20.0, "top_2": 30.0}}}
        journal.points.write_result(replace(result, scores=replace(result.scores, probes=probes)))
    shown = section(report_of(tmp_path / "runs"), "languages")
    (table,) = [block for block in shown.blocks if isinstance(block, Table)]
    assert table.headings == ("method", "answers", "en", "es")
    assert table.rows[:2] == ((table.rows[0][0], "1", "40.0", "20.0"), (table.rows[0][0], "2", "60.0", "30.0"))
    assert "could teach" in table.caption


def test_steps_that_a_resumed_epoch_lacks_leave_the_curve_over_steps_out(tmp_path):
    points = fabricate(tmp_path / "runs", QUICKSTARTS["qa"])
    journal = Journal.at(tmp_path / "runs")
    for point in points:
        for report in list(journal.epochs.of(point.id)):
            journal.epochs.write(point.id, replace(report, coefficients=report.coefficients[1:]))
    captions = [block.caption for block in section(report_of(tmp_path / "runs"), "training").blocks]
    assert any("multiplied" in caption for caption in captions)
    assert not any("step by step" in caption for caption in captions)


def test_the_cost_counts_the_cpus_that_a_point_held(reported):
    found = section(reported("qa").report, "cost")
    table = tables(found)[0]
    # 2 workers with 4 threads for 5 seconds.
    assert column(table, "CPU-seconds a point") == ["40"] * 6
    assert column(table, "examples/s") == ["500"] * 6
    assert "480 CPU-seconds" in found.blocks[0].text


def test_what_was_run_names_file_commit_versions_hardware_and_data(reported):
    found = section(reported("qa").report, "provenance")
    rows = dict(tables(found)[0].rows)
    assert rows["commit of the file's folder"] == "0123456789abcdef, with changes that are not committed"
    assert rows["2 nodes"] == "8 CPUs, 1 GPU (H100), 64 GiB"
    assert rows["data: data"] == "ab" * 32
    assert rows["torch"] == "2.13.0"
    short, whole = (block.text for block in found.blocks if isinstance(block, Code))
    assert "skd-map:" in short
    assert "\nselection:" in short
    assert "checkpoint_seconds" not in short
    assert "checkpoint_seconds: 600.0" in whole


def test_results_of_an_older_description_are_reported_all_the_same(tmp_path):
    fabricate(tmp_path, QUICKSTARTS["tagging"])
    journal = Journal.at(tmp_path)
    described = journal.sweep.read()
    config = {**described.config, "no_such_key": 1}
    journal.sweep.write(SweepDescription(name=described.name, points=described.points, config=config))
    for point_id in journal.points.ids():
        (tmp_path / "points" / point_id / "outcomes.json").unlink()
        file = f"points/{point_id}/result.json"
        result = journal.store.read_json(file)
        del result["device"], result["num_threads"]
        journal.store.write_json(file, result)
    report = report_of(tmp_path)
    assert names(report) == [*SCORED, "provenance"]
    assert report.decision[1].endswith("above generation 0.")
    assert "no_such_key: 1" in next(b.text for b in section(report, "provenance").blocks if isinstance(b, Code))
    (why,) = tables(section(report, "significance"))
    assert "without outcomes" in why.rows[0][0]
    assert "CPU-seconds a point" not in tables(section(report, "cost"))[0].headings
