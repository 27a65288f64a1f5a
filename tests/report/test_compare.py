"""Comparisons of a sweep's configurations, on folders as runs leave them."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.written_results import base_scores, description, result, scores_of

from raykd.report.compare import Comparison, compare
from raykd.report.leaderboard import GENERATION_ZERO, leaderboard
from raykd.report.statistics import holm
from raykd.results.journal import Journal
from raykd.results.records import read_records
from raykd.results.sweep import SweepDescription
from raykd.tasks.outcomes import Outcomes, Scores, record_outcomes

NUM_ITEMS = 60
EASY = np.random.default_rng(0).normal(40, 20, NUM_ITEMS)
BUDGET, TEMPERATURE = "data.budget", "distillation.temperature"
COLUMNS = {"gxlt_f1": "G-XLT F1"}


def scored(quality: float, *, seed: int, items: str = "q") -> tuple[Scores, Outcomes]:
    """Scores and outcomes over two cells with the same questions."""
    rng = np.random.default_rng([seed, round(100 * quality)])
    values = np.clip(EASY[:, None] + quality + rng.normal(0, 10, (NUM_ITEMS, 2)), 0, 100)
    ids = [f"{items}{number}" for number in range(NUM_ITEMS)]
    cells = {cell: (ids, values[:, column].tolist()) for column, cell in enumerate(("en-en", "en-de"))}
    outcomes = record_outcomes(cells, statistic="mean", unit="question", scores={"gxlt_f1": list(cells)})
    return scores_of({"gxlt_f1": float(values.mean())}, COLUMNS), outcomes


class Sweep:
    """A folder of results, a point at a time."""

    def __init__(self, root: Path) -> None:
        self.root, self.journal, self.ids = root, Journal.at(root), []

    def add(self, method: str, seed: int, quality: float | None = None, *, outcomes: bool = True, **more: Any) -> None:
        """A point, finished where it has a quality."""
        items, varied = more.pop("items", "q"), {key.replace("__", "."): value for key, value in more.items()}
        point_id = f"p{len(self.ids)}"
        self.ids.append(point_id)
        self.journal.points.add(
            description(point_id, method, label=f"{method} {seed}", varied={**varied, "seed": seed})
        )
        self.journal.points.start(point_id)
        if quality is None:
            self.journal.points.end(point_id, "failed", error="out of memory")
            return
        scores, of_examples = scored(quality, seed=seed, items=items)
        if outcomes:
            self.journal.points.write_outcomes(point_id, of_examples)
        self.journal.points.write_result(result(point_id, scores))
        self.journal.points.end(point_id, "finished")

    def add_generation_zero(self, quality: float = 0.0, *, items: str = "q", outcomes: bool = True) -> None:
        scores, of_examples = scored(quality, seed=0, items=items)
        record = base_scores(scores, outcomes=of_examples if outcomes else None)
        self.journal.store.write_record(f"scores/{items}.json", record)

    def compare(self) -> list[Comparison]:
        self.journal.sweep.write(SweepDescription(name="mine", points=tuple(self.ids)))
        return compare(read_records(self.root), num_resamples=999)


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    return Sweep(tmp_path)


def named(comparisons: Sequence[Comparison]) -> list[tuple[str, str, dict]]:
    return [(each.first, each.second, dict(each.varied)) for each in comparisons]


def test_methods_are_compared_at_the_same_budget_and_each_with_generation_0(sweep):
    sweep.add_generation_zero()
    for seed, budget in itertools.product((1, 2), (16, 64)):
        sweep.add("ce", seed, budget / 16, data__budget=budget)
        sweep.add("skd", seed, budget / 16 + 10, data__budget=budget)
    found = sweep.compare()
    assert named(found) == [
        ("skd", "ce", {BUDGET: 16}),
        ("skd", "ce", {BUDGET: 64}),
        ("ce", GENERATION_ZERO, {BUDGET: 16}),
        ("skd", GENERATION_ZERO, {BUDGET: 16}),
        ("ce", GENERATION_ZERO, {BUDGET: 64}),
        ("skd", GENERATION_ZERO, {BUDGET: 64}),
    ]
    assert {(each.num_items, each.num_seeds, each.reason) for each in found} == {(NUM_ITEMS, 2, None)}
    assert found[0].family == (
        "6 comparisons: each pair of methods with the same searched values, and each configuration with generation 0"
    )
    rows = {(row.method, row.varied.get(BUDGET)): row.mean["gxlt_f1"] for row in leaderboard(sweep.root).rows}
    for each in found:
        other = (each.second, each.varied[BUDGET]) if each.second != GENERATION_ZERO else (GENERATION_ZERO, None)
        assert each.difference == pytest.approx(rows[each.first, each.varied[BUDGET]] - rows[other])
        assert each.low < each.difference < each.high
    for kind in ("bootstrap", "wilcoxon"):
        raw = [getattr(each, f"p_{kind}") for each in found]
        assert [getattr(each, f"holm_{kind}") for each in found] == pytest.approx(holm(raw))
    assert found[0].holm_bootstrap < 0.05 and found[0].holm_wilcoxon < 0.05


def test_the_better_one_comes_first(sweep):
    sweep.add("a", 1, 10.0)
    sweep.add("b", 1, 0.0)
    sweep.add("c", 1, 20.0)
    assert named(sweep.compare())[:3] == [("a", "b", {}), ("c", "a", {}), ("c", "b", {})]


def test_a_method_without_a_knob_is_compared_at_each_of_its_values(sweep):
    sweep.add("ce", 1, 0.0, data__budget=16)
    for temperature in (1.0, 4.0):
        sweep.add("skd", 1, 5.0 + temperature, data__budget=16, distillation__temperature=temperature)
    pairs = [each for each in sweep.compare() if each.second != GENERATION_ZERO]
    assert named(pairs) == [
        ("skd temperature=1", "ce", {BUDGET: 16}),
        ("skd temperature=4", "ce", {BUDGET: 16}),
    ]


def test_values_of_one_method_are_compared_with_the_best(sweep):
    for temperature, quality in ((1.0, 5.0), (2.0, 15.0), (4.0, 0.0)):
        sweep.add("default", 1, quality, distillation__temperature=temperature)
    sweep.add_generation_zero()
    found = sweep.compare()
    assert named(found)[:2] == [
        ("default temperature=2", "default temperature=1", {}),
        ("default temperature=2", "default temperature=4", {}),
    ]
    assert len(found) == 5
    assert found[0].family == "5 comparisons: each configuration with the best one, and with generation 0"


def test_where_all_pairs_would_be_too_many_the_best_and_generation_0_are_left(sweep):
    for number in range(21):
        sweep.add(f"method {number}", 1, 10.0 if number == 3 else number / 10)
    sweep.add_generation_zero()
    found = sweep.compare()
    assert len(found) == 20 + 21
    assert all(each.first == "method 3" for each in found[:20])
    assert found[0].family.endswith("(with each pair of methods there would be 231)")


def test_only_seeds_that_both_have_finished_count(sweep):
    for seed, quality in ((1, 0.0), (2, 0.0), (3, None)):
        sweep.add("ce", seed, quality)
    for seed, quality in ((1, None), (2, 5.0), (3, 5.0)):
        sweep.add("skd", seed, quality)
    sweep.add_generation_zero()
    found = sweep.compare()
    assert [(each.first, each.num_seeds) for each in found] == [("skd", 1), ("ce", 2), ("skd", 2)]
    difference = scored(5.0, seed=2)[0].values["gxlt_f1"] - scored(0.0, seed=2)[0].values["gxlt_f1"]
    assert found[0].difference == pytest.approx(difference)


def test_what_cannot_be_compared_comes_last_with_a_reason(sweep):
    sweep.add("ce", 1, 0.0)
    sweep.add("failed", 1)
    sweep.add("old", 1, 20.0, outcomes=False)
    sweep.add("strange", 1, 30.0, items="other ")
    sweep.add_generation_zero()
    found = sweep.compare()
    assert (found[0].first, found[0].second, found[0].reason) == ("ce", GENERATION_ZERO, None)
    assert found[0].holm_bootstrap == found[0].p_bootstrap
    reasons = {(each.first, each.second): each.reason for each in found[1:]}
    assert reasons == {
        ("ce", "failed"): "there is no seed that both have finished",
        ("old", "ce"): "point p2 was recorded without outcomes of single examples",
        ("strange", "ce"): "they were scored on different examples",
        ("failed", "old"): "there is no seed that both have finished",
        ("failed", "strange"): "there is no seed that both have finished",
        ("strange", "old"): "point p2 was recorded without outcomes of single examples",
        ("failed", GENERATION_ZERO): "no seed of it is finished",
        ("old", GENERATION_ZERO): "point p2 was recorded without outcomes of single examples",
        ("strange", GENERATION_ZERO): f"{GENERATION_ZERO} was scored on other examples",
    }
    assert all(each.difference is None and each.holm_wilcoxon is None for each in found[1:])


def test_generation_0_of_another_run_has_no_outcomes(sweep):
    sweep.add("ce", 1, 0.0)
    sweep.add_generation_zero(outcomes=False)
    (found,) = sweep.compare()
    assert found.reason == f"{GENERATION_ZERO} was recorded without outcomes of single examples"


def test_generation_0_that_was_scored_on_several_sets_is_compared_on_each_points_own(sweep):
    sweep.add("ce", 1, 5.0, data__budget=1)
    sweep.add("ce", 1, 5.0, data__budget=2, items="other ")
    for items in ("q", "other "):
        sweep.add_generation_zero(items=items)
    found = [each for each in sweep.compare() if each.second == GENERATION_ZERO]
    assert [each.reason for each in found] == [None, None]
    assert found[0].difference == found[1].difference


def test_a_sweep_without_a_point_or_a_result_has_no_numbers(sweep):
    assert sweep.compare() == []
    sweep.add("ce", 1)
    (found,) = sweep.compare()
    assert (found.reason, found.num_seeds) == ("no seed of it is finished", 0)
