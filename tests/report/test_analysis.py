"""Points as configurations and contenders, and the main effects of what was searched."""

from dataclasses import replace

import pytest
from support.fabricated_results import fabricate

from raykd.report.analysis import Analysis, analyse, spoken
from raykd.report.document import Table
from raykd.report.knobs import knobs_section
from raykd.results.journal import Journal
from raykd.results.records import read_records

DATA = {
    "train": {"builtin": "small-world", "num_items": 32},
    "languages": ["en", "es"],
    "num_target_languages": 1,
}
FILE = {
    "name": "knobs",
    "seeds": [1, 2],
    "base": {"model": "builtin:tiny"},
    "data": DATA,
    "selection": {"source": {"builtin": "small-world", "num_items": 8}, "languages": ["en", "es"]},
    "methods": {"ce": {"distillation": {"kd_weight": 0}}, "skd": {}},
    "search": {"space": {"data.budget": [8, "all"], "distillation.temperature": [2, 4, 8]}},
}


def with_scores(root, score_of, file=FILE, **options) -> Analysis:
    """A sweep whose main scores are a function of method and searched values."""
    fabricate(root, file, **options)
    journal = Journal.at(root)
    for point_id in journal.points.ids():
        point, result = journal.points.description(point_id), journal.points.result(point_id)
        if result is not None:
            values = {**result.scores.values, "gxlt_f1": score_of(point.method, point.varied)}
            journal.points.write_result(replace(result, scores=replace(result.scores, values=values)))
    return analyse(read_records(root))


def score(method: str, varied: dict) -> float:
    """Temperature 4 is best; a seed adds its number, a budget of all 10."""
    temperature = {2.0: 0, 4.0: 5, 8.0: -3}.get(varied.get("distillation.temperature"), 0)
    return 20 + temperature + varied["seed"] + (10 if varied["data.budget"] == "all" else 0)


def test_configurations_are_means_over_seeds_best_first(tmp_path):
    analysis = with_scores(tmp_path / "runs", score)
    assert [(each.name, each.mean("gxlt_f1")) for each in analysis.configurations[:2]] == [
        ("skd budget=all T=4", 36.5),
        ("ce budget=all", 31.5),
    ]
    # Cross-entropy has no temperature: its points are the same for all three, and run once.
    assert len(analysis.configurations) == 8
    assert spoken(analysis.configurations[0]) == "skd at budget all, temperature 4"


def test_a_contender_is_a_method_at_its_best_setting_over_all_budgets(tmp_path):
    analysis = with_scores(tmp_path / "runs", score)
    assert [(each.name, each.style) for each in analysis.contenders] == [("ce", 0), ("skd, temperature 4", 1)]
    assert [each.budget for each in analysis.contenders[1].configurations] == [8, "all"]
    assert [each.num_items for each in analysis.contenders[1].configurations] == [8, 256]
    assert analysis.contenders[1].best("gxlt_f1").budget == "all"
    assert analysis.budgets == [8, "all"]


def test_with_one_method_its_settings_compete(tmp_path):
    file = {**FILE, "methods": {"skd": {}}}
    analysis = with_scores(tmp_path / "runs", score, file)
    assert [each.name for each in analysis.contenders] == ["temperature 4", "temperature 2", "temperature 8"]


def test_a_key_s_effect_is_the_mean_over_what_has_all_its_values(tmp_path):
    unfinished = {("skd", 8.0, 8, 2), ("skd", 8.0, "all", 1), ("skd", 8.0, "all", 2)}

    def status(point):
        varied = point.varied
        key = point.method, varied.get("distillation.temperature"), varied["data.budget"], varied["seed"]
        return "pending" if key in unfinished else "finished"

    analysis = with_scores(tmp_path / "runs", score, status=status)
    (figure,) = knobs_section(analysis).blocks
    # Only budget 8 with seed 1 has all three temperatures: 21, 26 and 18.
    assert figure.pictures[0].alt.endswith("by temperature: best at 4, 8.0 above the worst.")
    assert figure.numbers[0] == Table(
        ("key", "best value", "best minus worst"),
        (("temperature", "4", "+8.0"),),
        "Main effects, largest over methods",
        num_labels=2,
    )


def test_a_key_that_was_drawn_shows_every_point(tmp_path):
    space = {"training.learning_rate": {"log_uniform": [1e-5, 1e-2]}}
    file = {**FILE, "methods": {}, "search": {"algorithm": "random", "num_points": 15, "space": space}}
    file["data"] = {**DATA, "budget": 8}
    analysis = with_scores(tmp_path / "runs", lambda method, varied: varied["training.learning_rate"] * 1000, file)
    (figure,) = knobs_section(analysis).blocks
    highest = max(point.description.varied["training.learning_rate"] for point in analysis.records.points)
    assert figure.numbers[0].rows[0][:2] == ("learning_rate", f"{highest:g}")


def test_without_a_searched_key_there_are_no_knobs(tmp_path):
    file = {**FILE, "search": {"space": {"data.budget": [8, 16]}}}
    assert knobs_section(with_scores(tmp_path / "runs", score, file)) is None


def test_an_interval_ends_where_percents_do(tmp_path):
    analysis = with_scores(tmp_path / "runs", lambda method, varied: 1.0 if varied["seed"] == 1 else 99.0)
    found = analysis.interval(analysis.configurations[0])
    assert (found.mean, found.low, found.high) == (pytest.approx(50.0), 0.0, 100.0)
