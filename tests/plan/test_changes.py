"""A sweep file against the journal of its earlier version."""

from pathlib import Path
from typing import Any

import pytest
from support.tiny_sweeps import sweep
from support.written_results import description

from raykd.errors import ConfigError
from raykd.plan.changes import refuse_changed
from raykd.plan.file import sweep_of
from raykd.plan.points import Plan, make_plan
from raykd.plan.vary import without_shorthand
from raykd.results.journal import Journal
from raykd.results.sweep import SweepDescription


def plan(**changes: Any) -> Plan:
    return make_plan(sweep_of(without_shorthand(sweep(**changes))))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.at(tmp_path / "runs")


def record(journal: Journal, plan: Plan) -> None:
    """What a run leaves of its points."""
    points = tuple(point.id for point in plan.points)
    journal.sweep.write(SweepDescription(name="tiny", config=plan.sweep.to_json(), points=points))
    for point in plan.points:
        config = point.config.model_dump(mode="json")
        journal.points.add(description(point.id, label=point.label, config=config))


def test_the_same_file_and_a_longer_one_are_taken(journal):
    first = plan(search={"space": {"data.budget": [4, 8]}}, seeds=[1])
    refuse_changed(first, journal)
    record(journal, first)
    refuse_changed(first, journal)
    refuse_changed(plan(search={"space": {"data.budget": [4, 8, 16]}}, seeds=[1, 2]), journal)


def test_a_fixed_value_that_becomes_a_dimension_keeps_its_point(journal):
    record(journal, plan(seeds=[1]))
    refuse_changed(plan(seeds=[1], search={"space": {"distillation.temperature": [1, 2, 4]}}), journal)


def test_points_that_mean_something_else_under_their_old_name_are_refused_with_every_key(journal):
    record(journal, plan(search={"space": {"data.budget": [4, 8]}}, seeds=[1]))
    changed = plan(
        search={"space": {"data.budget": [4, 8]}}, seeds=[1], training={"learning_rate": 2e-3}, data={"stride": 16}
    )
    with pytest.raises(ConfigError) as refusal:
        refuse_changed(changed, journal)
    _, *keys, fix = refusal.value.problems
    assert keys == [
        "  data.stride: was 32 and is now 16 (2 points)",
        "  training.learning_rate: was 0.001 and is now 0.002 (2 points)",
    ]
    assert "another storage" in fix


def test_what_has_no_influence_on_a_result_may_change(journal):
    record(journal, plan(seeds=[1]))
    refuse_changed(plan(seeds=[1], compute={"executor": "train"}, lineage={"keep": "all"}), journal)


SPACE = {"distillation.temperature": {"uniform": [1, 4]}}


def test_the_space_of_a_searcher_may_change_and_what_it_stands_on_may_not(journal):
    record(journal, plan(search={"algorithm": "optuna", "num_points": 2, "space": SPACE}))
    wider = {"distillation.temperature": {"uniform": [1, 8]}, "training.learning_rate": {"uniform": [1e-4, 1e-2]}}
    refuse_changed(plan(search={"algorithm": "optuna", "num_points": 9, "space": wider}), journal)
    search = {"algorithm": "optuna", "num_points": 2, "space": SPACE}
    with pytest.raises(ConfigError, match=r"training.learning_rate: was 0.001 and is now 0.1"):
        refuse_changed(plan(search=search, training={"learning_rate": 0.1}), journal)
