"""From a sweep to its points, what they share and what they cost."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_sweeps import identity_of, pair_sweep, tag_sweep

from raykd.config.identity import Identity
from raykd.config.keys import merged, with_path
from raykd.errors import ConfigError
from raykd.plan.file import load_sweep, sweep_of
from raykd.plan.points import expand, make_plan, suggested_points
from raykd.plan.sweep import SweepConfig, SweepKeys

POINT = {"data": {"train": {"path": "train.json"}}, "selection": {"source": {"path": "dev.json"}}}


def point(change: dict[str, Any] | None = None) -> Identity:
    return identity_of(merged(POINT, change or {}))


def sweep(change: dict[str, Any] | None = None) -> SweepConfig:
    """Not through a file's checks, which would refuse what is to be refused here."""
    raw = merged({"name": "small", **POINT}, change or {})
    keys = SweepKeys.model_validate({key: value for key, value in raw.items() if key in SweepKeys.model_fields})
    own = identity_of({key: value for key, value in raw.items() if key not in SweepKeys.model_fields}).config
    return SweepConfig(**dict(keys), point=own)


def searching(*, methods: Any = None, seeds: Any = None, **search: Any) -> SweepConfig:
    return sweep({"search": search, "methods": methods or {}} | ({"seeds": seeds} if seeds else {}))


def grid(**values: list[Any]) -> dict[str, Any]:
    return {key.replace("__", "."): {"grid": value} for key, value in values.items()}


METHODS = {"ce": {"distillation": {"kd_weight": 0}}, "skd": {}}
KNOBS = {
    "distillation.temperature": 4.0,
    "distillation.k": 5,
    "distillation.coefficient": "map_at_k",
    "data.budget": 64,
    "training.learning_rate": 1e-4,
    "lineage.num_generations": 2,
    "seed": 7,
}
ORDERED = functools.reduce(lambda raw, key: with_path(raw, tuple(key.split(".")), KNOBS[key]), KNOBS, POINT)


@given(st.permutations(list(KNOBS)), st.permutations(list(POINT)))
def test_a_points_id_does_not_depend_on_the_order_of_keys(knobs, sections):
    raw: dict[str, Any] = {key: POINT[key] for key in sections}
    for key in knobs:
        raw = with_path(raw, tuple(key.split(".")), KNOBS[key])
    assert point(raw).id == point(ORDERED).id


@given(st.sampled_from(sorted(KNOBS)))
def test_a_points_id_changes_with_every_knob_that_matters(key):
    coefficient = {"distillation": {"coefficient": "reciprocal_rank"}}
    assert point(with_path(coefficient, tuple(key.split(".")), KNOBS[key])).id != point(coefficient).id


@pytest.mark.parametrize(
    ("context", "change"),
    [
        ({}, {"compute": {"executor": "train", "cpus_per_worker": 2, "gpus_per_worker": 0.5, "checkpoints": False}}),
        ({}, {"selection": {"batch_tokens": 64}}),
        ({}, {"distillation": {"k": 3, "window": 1, "reduce": "batch", "reduce_group": 2}}),
        ({}, {"lineage": {"patience": 3}}),
        ({}, {"data": {"seed": 0}}),
        ({"distillation": {"coefficient": "map_at_k"}}, {"distillation": {"window": [5, 5], "reduce_group": 4}}),
        (METHODS["ce"], {"distillation": {"temperature": 9, "signals": "live"}, "lineage": {"teacher": "ensemble"}}),
        (METHODS["ce"], {"data": {"teacher_view": "q-random"}}),
        (METHODS["ce"], {"distillation": {"kd_weight": {"start": 0, "end": 0}}}),
    ],
)
def test_a_knob_without_influence_leaves_the_id(context, change):
    assert point(merged(context, change)).id == point(context).id


def test_a_teacher_that_the_student_starts_from_matters_without_a_kd_term():
    starts_from_teacher = merged(METHODS["ce"], {"lineage": {"student_init": "teacher"}})
    fixed = merged(starts_from_teacher, {"lineage": {"teacher": "fixed"}})
    assert point(starts_from_teacher).id != point(fixed).id


def test_the_canonical_form_is_plain_json():
    assert json.loads(json.dumps(point().recipe)) == point().recipe


def test_a_grid_multiplies_methods_values_and_seeds_with_seeds_slowest():
    space = grid(data__budget=[64, 256], distillation__temperature=[1, 2])
    points = expand(searching(methods=METHODS, seeds=[1, 2], space=space))
    assert [p.label for p in points[:6]] == [
        "ce budget=64 seed=1",
        "ce budget=256 seed=1",
        "skd budget=64 T=1 seed=1",
        "skd budget=64 T=2 seed=1",
        "skd budget=256 T=1 seed=1",
        "skd budget=256 T=2 seed=1",
    ]
    assert len(points) == 12 and all(p.config.seed == 2 for p in points[6:])
    assert points[0].varied == {"data.budget": 64, "seed": 1} and points[0].method == "ce"


def test_a_methods_own_key_wins_over_the_search_and_the_seeds():
    methods = {"hot": {"distillation": {"temperature": 8}, "seed": 5}, "any": {}}
    points = expand(searching(methods=methods, seeds=[1, 2], space=grid(distillation__temperature=[1, 2])))
    assert [p.label for p in points if p.method == "hot"] == ["hot T=8 seed=5"]
    assert len(points) == 5


def test_a_sweep_without_methods_has_the_default_one():
    (only,) = expand(sweep())
    assert (only.method, only.label, only.varied, only.id) == (
        "default",
        "default seed=0",
        {"seed": 0},
        point().id,
    )


def test_equal_points_come_once_with_the_first_label():
    points = expand(searching(methods={"a": {}, "b": {}}, space=grid(distillation__temperature=[2, 2.0])))
    assert [p.label for p in points] == ["a T=2 seed=0"]


def test_keys_with_the_same_last_part_keep_their_sections_in_a_label():
    (only,) = expand(searching(space=grid(data__seed=[3], selection__seed=[4])))
    assert only.label == "default data.seed=3 selection.seed=4 seed=0"


def test_a_searched_section_takes_the_place_of_the_files():
    train = {"source": {"path": "squad.json"}, "epochs": 1}
    points = expand(searching(space=grid(base__train=[None, train])))
    assert [p.config.base.train is None for p in points] == [True, False]


RANDOM = {
    "training.learning_rate": {"log_uniform": [1e-6, 1e-4]},
    "training.warmup": {"uniform": [0, 0.5]},
    "distillation.k": {"int_range": [1, 10]},
    "distillation.direction": {"choice": ["forward_kl", "reverse_kl"]},
}
MAP = {"distillation": {"coefficient": "map_at_k"}}


@given(st.integers(0, 2**32), st.permutations(list(RANDOM)))
def test_random_draws_depend_on_the_searchs_seed_alone_and_stay_in_bounds(seed, order):
    search = {"algorithm": "random", "num_points": 3, "seed": seed}
    points = expand(searching(space=RANDOM, methods={"map": MAP}, **search))
    assert len(points) == 3
    shuffled = expand(searching(space={key: RANDOM[key] for key in order}, methods={"map": MAP}, **search))
    assert [p.id for p in points] == [p.id for p in shuffled]
    for p in points:
        assert 1e-6 <= p.config.training.learning_rate <= 1e-4
        assert 0 <= p.config.training.warmup <= 0.5 and 1 <= p.config.distillation.k <= 10


def test_grids_methods_and_seeds_multiply_each_random_draw():
    space = {"training.warmup": {"uniform": [0, 0.5]}} | grid(data__budget=[8, 16])
    points = expand(searching(methods=METHODS, seeds=[1, 2], space=space, algorithm="random", num_points=3))
    assert len(points) == 3 * 2 * 2 * 2
    assert len({p.config.training.warmup for p in points}) == 3


def test_a_race_has_the_points_of_its_grid_or_draws_with_every_seed():
    space = {"training.warmup": {"uniform": [0, 0.5]}} | grid(data__budget=[8, 16])
    for searched, like in (
        ({"space": grid(data__budget=[8, 16])}, {"algorithm": "grid"}),
        ({"space": space, "num_points": 3}, {"algorithm": "random"}),
    ):
        plan = make_plan(searching(methods=METHODS, seeds=[5, 2], algorithm="race", **searched))
        expected = expand(searching(methods=METHODS, seeds=[5, 2], **searched, **like))
        assert [point.label for point in plan.points] == [point.label for point in expected]
        seeds = [point.config.seed for point in plan.points]
        assert seeds == sorted(seeds, reverse=True) and plan.is_exact


def test_a_combination_that_is_not_allowed_is_named():
    space = grid(data__languages=[["en", "es"], ["en", "es", "de"]], data__num_target_languages=[1, 2])
    with pytest.raises(ConfigError) as caught:
        expand(searching(space=space))
    assert caught.value.problems == (
        (
            'method default with data.languages: ["en", "es"], data.num_target_languages: 2: data: '
            "num_target_languages is 2; with 2 languages it can be 0 to 1"
        ),
    )


def test_a_suggestion_becomes_a_point_of_its_method():
    space = {"distillation.temperature": {"uniform": [1, 8]}}
    searched = searching(methods=METHODS, seeds=[4, 5], space=space, algorithm="optuna", num_points=2)
    suggested = suggested_points(searched, "skd", {"distillation.temperature": 3.25})
    assert [(each.label, each.config.seed) for each in suggested] == [
        ("skd T=3.25 seed=4", 4),
        ("skd T=3.25 seed=5", 5),
    ]
    with pytest.raises(ConfigError, match=r"method skd with .*distillation.temperature: got -1; must be greater"):
        suggested_points(searched, "skd", {"distillation.temperature": -1})
    assert not make_plan(searched).is_exact


BASE = {"train": {"source": {"path": "squad.json"}}}


def test_points_that_differ_in_knobs_alone_share_generation_0():
    plain = point({"base": BASE})
    assert plain.base == point({"base": BASE, "seed": 3, "data": {"budget": 8}}).base
    assert plain.base != point({"base": BASE, "data": {"max_length": 256}}).base
    assert plain.base != point({"base": BASE, "compute": {"precision": "bf16"}}).base
    assert point().base == point({"data": {"max_length": 256}}).base


def test_a_plan_counts_shared_bases_and_teacher_passes_by_hand():
    """2 budgets x 2 seeds: 4 data sets, which T does not change; 8 skd points with 2 later teachers each."""
    space = grid(data__budget=[64, 256], distillation__temperature=[1, 2])
    plan = make_plan(searching(methods=METHODS, seeds=[1, 2], space=space))
    assert (len(plan.points), len(plan.generation_zero), len(plan.signals), plan.num_signal_passes) == (
        12,
        1,
        4,
        4 + 8 * 2,
    )
    fixed = make_plan(searching(methods={"skd": {"lineage": {"teacher": "fixed"}}}, seeds=[1, 2], space=space))
    assert fixed.num_signal_passes == 4
    live = make_plan(searching(methods={"skd": {"distillation": {"signals": "live"}}}, space=space))
    assert live.num_signal_passes == 0


def test_a_plan_counts_each_teacher_of_tagging_and_one_pass_over_its_own_sentences():
    """3 budgets and 2 objectives: 2 monolingual teachers are made once, their signals once for each budget."""
    space = grid(data__budget=[4, 8, 12], distillation__objective=["posterior", "top_k"])
    keys = tag_sweep(search={"space": space}, methods={"ce": {"distillation": {"kd_weight": 0}}, "kd": {}})
    plan = make_plan(sweep_of(keys))
    assert len(plan.points) == 3 + 3 * 2  # the baseline has no objective
    assert (len(plan.bases), len(plan.generation_zero), len(plan.signals)) == (1, 2, 3)
    assert plan.num_signal_passes == 3 + 6 * 1  # and one later teacher a point


def test_a_plan_of_qa_has_the_base_as_its_only_teacher():
    plan = make_plan(searching(methods=METHODS, seeds=[1, 2]))
    assert plan.first_teachers == plan.generation_zero
    assert len(plan.generation_zero) == 1


def test_the_english_teacher_of_parallel_text_is_not_generation_0():
    plan = make_plan(sweep_of(pair_sweep()))
    assert (len(plan.generation_zero), len(plan.first_teachers)) == (1, 1)
    assert not plan.generation_zero & plan.first_teachers


def test_a_plan_says_which_executor_and_why():
    methods = {
        "one": {},
        "two": {"compute": {"num_workers": 2}},
        "elastic": {"compute": {"num_workers": [1, 2]}},
        "forced": {"compute": {"executor": "train"}, "seed": 1},
    }
    plan = make_plan(sweep({"methods": methods}))
    assert [plan.executors[p.id] for p in plan.points] == [
        ("inline", "one worker: runs in a reused process"),
        ("train", "2 workers: run in a Ray Train worker group"),
        ("train", "1 to 2 workers: run in a Ray Train worker group"),
        ("train", "compute.executor is train"),
    ]


def test_a_file_expands_the_same_every_time(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "name: x\npreset: legacy\ndata: {train: {path: a}}\nselection: {source: {path: b}}\nseeds: [3, 4]\n"
        "methods: {ce: {distillation: {kd_weight: 0}}, skd: , map: {distillation: {coefficient: reciprocal_rank}}}\n"
        "search: {space: {data.num_target_languages: [0, 1, 2, 3, 4, 5, 6], distillation.temperature: [2, 4, 8, 16]}}\n"
    )
    points = expand(load_sweep(path))
    assert len(points) == 2 * (7 + 28)  # map is what the preset's skd is
    assert [p.id for p in points] == [p.id for p in expand(load_sweep(path))]
    assert len({p.id for p in points}) == len(points)
