"""What a plan costs, worked out by hand, and measured against what a task really stores."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_sweeps import pair_sweep, sweep, tag_sweep

from raykd.config.keys import merged
from raykd.plan.cost import Cost, Estimate, Sizes, estimate, signal_bytes
from raykd.plan.file import sweep_of
from raykd.plan.points import Plan, make_plan
from raykd.tasks.sizes import TextSizes

PAPER = {
    "name": "paper",
    "data": {"train": {"path": "train.json"}},
    "selection": {"source": {"path": "dev.json"}},
}


def planned(keys: dict[str, Any], **changes: Any) -> Plan:
    return make_plan(sweep_of(merged(keys, changes)))


@pytest.mark.parametrize(
    ("num_target_languages", "num_examples"),
    list(enumerate([8330, 4760, 10710, 19040, 29750, 42840, 58310])),
)
def test_the_estimate_counts_the_papers_examples(num_target_languages, num_examples):
    plan = planned(PAPER, lineage={"num_generations": 1}, data={"num_target_languages": num_target_languages})
    assert estimate(plan, Sizes(total_items=1190)).examples == num_examples


def test_without_a_pivot_a_sample_holds_only_the_targets():
    data = {"num_target_languages": 3, "english_centric": False, "budget": 10}
    assert estimate(planned(PAPER, data=data, lineage={"num_generations": 1}), Sizes()).examples == 10 * 9


def test_sentences_of_every_language_count_once_an_epoch():
    plan = planned(tag_sweep(search={"space": {"data.budget": {"grid": [4, 8, 12]}}}))
    assert estimate(plan, Sizes(total_items=24)).examples == 2 * 2 * (4 + 8 + 12)


def test_an_estimate_worked_out_by_hand():
    """10 items x 16 pairs = 160 examples of 100 tokens: 16 steps of 1000 tokens; 3 epochs; 3 teacher passes."""
    plan = planned(PAPER, data={"budget": 10}, training={"tokens_per_step": 1000})
    sizes = Sizes(total_items=1000, num_parameters=1000, texts=TextSizes(tokens=100))
    cost = estimate(plan, sizes, tokens_per_second=100)
    assert (cost.examples, cost.steps) == (480, 48)
    # One of the passes is generation 0's, made for all points.
    assert cost.shared.seconds == pytest.approx(16_000 / 3 / 100)
    assert cost.points[plan.points[0].id].seconds == pytest.approx((48_000 + 2 * 16_000 / 3) / 100)
    assert cost.disk_bytes == 1000 * (4 * 2 + 2 * 12) + 8 * 3 * 16_000


def test_generation_0_is_trained_once_for_all_points():
    """64 questions of 100 tokens, one epoch, at 64 tokens a second, and 8 signals of each of two seeds at most."""
    train = {"source": {"builtin": "small-world", "num_items": 64}, "epochs": 1}
    plan = planned(sweep(), base={"train": train}, seeds=[1, 2], distillation={"kd_weight": 0})
    sizes = Sizes(total_items=32, num_labelled=64, texts=TextSizes(tokens=100))
    assert estimate(plan, sizes, tokens_per_second=64).shared.seconds == pytest.approx(100)


@pytest.mark.parametrize(
    ("compute", "on_gpus", "gpus", "cpus"),
    [
        ({}, False, 0, 1),
        ({}, True, 1, 1),
        ({"num_workers": 4, "gpus_per_worker": 1, "cpus_per_worker": 8}, False, 4, 32),
        ({"gpus_per_worker": 0.5}, True, 0.5, 1),
        ({"gpus_per_worker": 0, "cpus_per_worker": 2}, True, 0, 2),
        ({"num_workers": [1, 3]}, True, 3, 3),
    ],
)
def test_hours_are_time_by_workers_by_what_each_takes(compute, on_gpus, gpus, cpus):
    """360 examples of 100 tokens at 10 tokens a second are an hour."""
    plan = planned(
        PAPER,
        data={"budget": 360, "num_target_languages": 0, "languages": ["en"]},
        lineage={"num_generations": 1},
        distillation={"kd_weight": 0},
        compute=compute,
    )
    cost = estimate(plan, Sizes(texts=TextSizes(tokens=100)), tokens_per_second=10, on_gpus=on_gpus)
    assert cost.total == Cost(3600, pytest.approx(gpus), pytest.approx(cpus))


def test_a_teacher_that_is_read_live_is_a_third_of_the_work_again():
    one = {"data": {"budget": 10}, "lineage": {"num_generations": 1}}
    known = {"sizes": Sizes(texts=TextSizes(tokens=100)), "tokens_per_second": 1}
    alone = estimate(planned(PAPER, **one, distillation={"kd_weight": 0}), **known)
    live = estimate(planned(PAPER, **one, distillation={"signals": "live"}), **known)
    assert live.total.seconds == pytest.approx(alone.total.seconds * 4 / 3)


@given(st.lists(st.floats(0, 1e6), max_size=20), st.floats(0, 1e6), st.integers(1, 40))
def test_more_points_at_a_time_are_never_slower_and_never_faster_than_the_longest(each, shared, parallel):
    cost = Estimate(shared=Cost(shared), points={str(at): Cost(seconds) for at, seconds in enumerate(each)})
    wall = cost.wall_seconds(parallel)
    assert shared + max(each, default=0) <= wall <= cost.wall_seconds(1) + 1e-3
    assert cost.wall_seconds(parallel + 1) <= wall
    assert cost.wall_seconds(1) == pytest.approx(cost.total.seconds)


def test_what_is_unknown_stays_unknown():
    assert estimate(planned(PAPER), Sizes()) == Estimate()
    cost = estimate(planned(PAPER, preset="legacy"), Sizes(total_items=10))
    assert cost.steps
    assert (cost.total, cost.wall_seconds(2), cost.disk_bytes) == (None, None, None)


def test_teachers_of_tagging_take_space_beside_what_students_start_from():
    keys = tag_sweep(compute={"checkpoints": False}, distillation={"kd_weight": 0})
    sizes = Sizes(total_items=24, num_parameters=1000)
    found = [estimate(planned(keys, base={"train": train}), sizes).disk_bytes for train in (None, {})]
    assert found == [4000 * (1 + 1), 4000 * (1 + 2 + 1)]


def test_the_english_teacher_has_weights_of_its_own_size():
    keys = pair_sweep(compute={"checkpoints": False}, lineage={"num_generations": 1})
    sizes = Sizes(total_items=24, num_parameters=1000, teacher_parameters=500, widths=(0, 0))
    assert estimate(planned(keys), sizes).disk_bytes == 4000 * 2 + 4 * 500


def test_only_points_that_run_at_the_same_time_hold_later_signals_and_checkpoints():
    keys = merged(PAPER, {"data": {"budget": 10}, "seeds": [1, 2, 3], "distillation": {"kd_weight": 0}})
    sizes = Sizes(num_parameters=1000, texts=TextSizes(tokens=100))
    found = [estimate(planned(keys, search={"max_concurrent": most}), sizes).disk_bytes for most in (1, 2, 9)]
    assert found == [4000 * (1 + 3) + 24_000 * running for running in (1, 2, 3)]


def test_word_vectors_count_once_for_each_english_sentence():
    """12 pairs of each of 2 languages with one English side: 12 sentences of 7 words and a vector, float16 of 64."""
    config = planned(pair_sweep()).points[0].config
    sizes = Sizes(widths=(64, 32), texts=TextSizes(words=7, distinct=0.5))
    assert signal_bytes(config, sizes, first=True) == 12 * 8 * 64 * 2
    assert signal_bytes(config, sizes, first=False) == 12 * 8 * 32 * 2
    without = planned(pair_sweep(distillation={"multilevel": {"word_weight": 0}})).points[0].config
    assert signal_bytes(without, sizes, first=True) == 12 * 64 * 2
