"""Sweep files of task tagging: what they mean, and what is said about wrong ones."""

from pathlib import Path

import pytest
import yaml
from support.tiny_sweeps import sweep, tag_point, tag_sweep

from raykd.config.base import Schedule, weight_at
from raykd.config.identity import Identity
from raykd.config.keys import at_path, merged, point_keys, with_path
from raykd.errors import ConfigError
from raykd.plan.file import load_sweep, sweep_of
from raykd.plan.sweep import SweepConfig
from raykd.tasks import TASKS


def foreign(task: str) -> list[str]:
    """The keys that other tasks have and this one has not; of a whole section its name alone."""
    own = {*point_keys(TASKS[task].point)}
    keys = {key for other in TASKS.values() for key in point_keys(other.point)} - own
    return sorted(key for key in keys if key.rpartition(".")[0] not in keys)


FOREIGN = {"qa": foreign("qa"), "tagging": foreign("tagging")}
FILES = {"qa": sweep, "tagging": tag_sweep}
VALUES = {
    "head": {"kind": "softmax"},
    "data.columns": {"tag": 1},
    "data.pivot": "en",
    "data.no_answer": "cls",
    "data.teacher_view": "q-random",
    "data.train.rows": [0, 2],
    "selection.source.rows": [0, 2],
    "base.train.source.rows": [0, 2],
    "base.train.teachers": "per_language",
    "base.train.language": "es",
    "base.gguf_file": "x.gguf",
    "distillation.direction": "reverse_kl",
    "distillation.coefficient": "map_at_k",
    "distillation.combine": "sum",
    "distillation.exact_temperature": "global",
    "distillation.reduce": "batch",
    "distillation.signals": "stored",
    "selection.normalization": "squad",
}
"""A value that would be right for the other task; of all other keys it is 1 or true."""

cases = pytest.mark.parametrize(("task", "key"), [(task, key) for task, keys in FOREIGN.items() for key in keys])


def read(folder: Path, keys: dict) -> SweepConfig:
    (folder / "x.yaml").write_text(yaml.safe_dump(keys))
    return load_sweep(folder / "x.yaml")


def problems(folder: Path, keys: dict) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, keys)
    return [line.removeprefix(f"{folder / 'x.yaml'}: ") for line in caught.value.problems]


def value_of(key: str):
    flags = ("english_centric", "context_only", "pad_to_max", "bidirectional")
    return VALUES.get(key, True if key.endswith(flags) else 1)


# Keys of the other task -------------------------------------------------------------------------------------------


@cases
def test_a_key_of_the_other_task_is_refused_wherever_it_stands(tmp_path, task, key):
    text, path, value = f"task {task} does not have this key; remove it", tuple(key.split(".")), value_of(key)
    keys = FILES[task]()
    assert f"{key}: {text}" in problems(tmp_path, with_path(keys, path, value))
    in_method = with_path(FILES[task](), ("methods", "a", *path), value)
    assert f"methods.a.{key}: {text}" in problems(tmp_path, in_method)
    if not isinstance(value, dict):
        searched = with_path(FILES[task](), ("search", "space"), {key: [value]})
        assert f"search.space.{key}: {text}" in problems(tmp_path, searched)


@pytest.mark.parametrize("key", ["head.kind", "data.columns.scheme", "head.lstm_size"])
def test_a_key_inside_a_section_of_the_other_task_cannot_be_searched(tmp_path, key):
    value = {"head.kind": "crf", "data.columns.scheme": "iob2", "head.lstm_size": 8}[key]
    line = f"search.space.{key}: task qa does not have this key; remove it"
    assert line in problems(tmp_path, sweep(search={"space": {key: [value]}}))
    assert read(tmp_path, tag_sweep(search={"space": {key: [value]}}))


@pytest.mark.parametrize("place", ["methods", "search"])
def test_a_sweep_has_one_task(tmp_path, place):
    change = {"methods": {"a": {"task": "qa"}}} if place == "methods" else {"search": {"space": {"task": ["qa"]}}}
    where = "methods.a.task" if place == "methods" else "search.space.task"
    assert problems(tmp_path, tag_sweep(**change)) == [
        f"{where}: task belongs to the whole sweep; set it at the top level of the file"
    ]


@pytest.mark.parametrize("key", ["head.lstm_size", "data.train.num_items", "data.columns.encode", "base.train.epochs"])
def test_optuna_cannot_choose_what_teachers_depend_on(tmp_path, key):
    values = {"head.lstm_size": 8, "data.train.num_items": 5, "data.columns.encode": "iob2", "base.train.epochs": 2}
    value = values[key]
    search = {"algorithm": "optuna", "num_points": 2, "space": {key: {"choice": [value]}}}
    lines = problems(tmp_path, tag_sweep(search=search))
    assert any(
        line.startswith(f"search.space.{key}: generation 0 and its scores are computed before") for line in lines
    )


def test_optuna_cannot_choose_students_but_methods_may_have_their_own(tmp_path):
    search = {"algorithm": "optuna", "num_points": 2, "space": {"student.num_layers": {"choice": [1, 2]}}}
    lines = problems(tmp_path, tag_sweep(search=search))
    assert any(line.startswith("search.space.student.num_layers: the first student is made before") for line in lines)
    search = {"algorithm": "optuna", "num_points": 2, "space": {"distillation.temperature": {"uniform": [1, 4]}}}
    methods = {"whole": {}, "half": {"student": {"num_layers": 1, "new_head": True}}}
    assert read(tmp_path, tag_sweep(search=search, methods=methods, seeds=[1, 2])).methods.keys() == methods.keys()


# Combinations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"distillation": {"objective": "span_kl"}}, "objective: got 'span_kl'; must be 'token', 'emission', "),
        ({"head": {"kind": "softmax"}, "distillation": {"objective": "top_k"}}, "objective top_k needs head.kind crf"),
        ({"head": {"kind": "softmax"}, "distillation": {"objective": "exact"}}, "objective exact needs head.kind crf"),
        (
            {"data": {"unlabelled": {"languages": ["zh"]}}},
            "no teacher knows zh, as base.train.teachers is per_language",
        ),
        ({"data": {"unlabelled": {"source": "all"}}}, "data.unlabelled.source: got 'all'"),
        ({"student": {"num_layers": 1}, "lineage": {"student_init": "teacher"}}, "cannot start from its teacher"),
        ({"distillation": {"kd_share": 1.5}}, "kd_share"),
        ({"distillation": {"kd_share": {"start": 2, "end": 0}}}, "kd_share: must be at most 1"),
        ({"distillation": {"label_weight": 0, "kd_weight": 0}}, "nothing would be trained"),
        ({"distillation": {"objective": "topk"}}, "objective: got 'topk'; must be"),
        ({"data": {"languages": ["en", "en"]}}, "a language is listed twice"),
        ({"head": {"lstm_size": 0}}, "head.lstm_size: got 0; must be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, change, said):
    assert any(said in line for line in problems(tmp_path, tag_sweep(**change)))


@pytest.mark.parametrize("change", [{"distillation": {"signals": "live"}}, {"training": {"pad_to_max": True}}])
def test_what_no_file_can_ask_for_no_point_can_either(tmp_path, change):
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        tag_point(**change)
    # A file is told once, and what to do.
    (line,) = problems(tmp_path, tag_sweep(**change))
    assert line.endswith("task tagging does not have this key; remove it")


def test_an_objective_of_tagging_is_none_of_qa(tmp_path):
    (line,) = problems(tmp_path, sweep(distillation={"objective": "posterior"}))
    assert line == "distillation.objective: got 'posterior'; must be 'span_kl'"


def test_a_searched_objective_is_checked_against_each_methods_head(tmp_path):
    keys = tag_sweep(
        methods={"crf": {}, "softmax": {"head": {"kind": "softmax"}}},
        search={"space": {"distillation.objective": ["posterior", "top_wk"]}},
    )
    (line,) = problems(tmp_path, keys)
    assert line.startswith("search.space.distillation.objective: value 'top_wk': ")
    assert line.endswith("needs head.kind crf (in method softmax)")


# Weights ----------------------------------------------------------------------------------------------------------


def weights(progress: float, **distillation) -> tuple[float, float]:
    label, kd = tag_point(distillation=distillation).config.distillation.weights
    # Each generation has its own schedule: where the lineage stands has no say.
    label_now, kd_now = (weight_at(weight, lineage=0.9, generation=progress) for weight in (label, kd))
    return label_now, kd_now


def test_a_schedule_may_run_over_the_lineage():
    share = {"start": 1, "end": 0, "over": "lineage"}
    label, kd = tag_point(distillation={"kd_share": share}).config.distillation.weights
    assert (weight_at(label, lineage=0.25, generation=0.5), weight_at(kd, lineage=0.25, generation=0.5)) == (0.25, 0.75)


@pytest.mark.parametrize(
    "share",
    [
        {"start": 1, "end": 0},
        {"start": 0.8, "end": 0.3, "shape": "cosine"},
        {"start": 1, "end": 0, "num_stairs": 4},
        {"start": 1, "end": 0.25, "until": 0.5},
    ],
)
def test_both_weights_of_a_share_make_1_at_every_moment(share):
    found = [weights(progress / 20, kd_share=share) for progress in range(21)]
    assert all(label + kd == pytest.approx(1) for label, kd in found)
    assert [kd for _, kd in found] == pytest.approx([Schedule(**share).at(progress / 20) for progress in range(21)])
    assert found[0][1] == share["start"]


def test_a_constant_share_takes_the_place_of_both_weights():
    assert weights(0.3, kd_share=0.25, label_weight=9, kd_weight=9) == (0.75, 0.25)
    assert weights(0.3, label_weight=9, kd_weight=7) == (9, 7)


def test_stairs_fall_once_an_epoch():
    # Four epochs of ten steps: the weight of the released code, 1 - epoch / 4.
    share = {"start": 1, "end": 0, "num_stairs": 4}
    found = [weights(step / 39, kd_share=share)[1] for step in range(40)]
    assert found == [1.0] * 10 + [0.75] * 10 + [0.5] * 10 + [0.25] * 10


@pytest.mark.parametrize(("share", "uses"), [(0, False), (0.1, True), ({"start": 0, "end": 0}, False)])
def test_a_share_of_nothing_is_the_baseline(share, uses):
    point = tag_point(distillation={"kd_share": share, "objective": "top_k", "k": 3})
    assert point.config.distillation.uses_teacher == uses
    assert (point.id == tag_point(distillation={"kd_weight": 0}).id) == (share == 0)


# Identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "change"),
    [
        ({}, {"distillation": {"objective": "posterior"}}),
        ({}, {"distillation": {"k": 3, "combine": "sum", "exact_temperature": "global"}}),
        ({"objective": "emission"}, {"distillation": {"k": 3, "combine": "sum"}}),
        ({"objective": "top_k"}, {"distillation": {"temperature": 7, "combine": "sum"}}),
        (
            {"objective": "top_wk"},
            {"distillation": {"temperature": 7, "combine": "sum", "exact_temperature": "global"}},
        ),
        ({"objective": "posterior_top_wk"}, {"distillation": {"exact_temperature": "global"}}),
        ({"objective": "exact"}, {"distillation": {"k": 3, "combine": "sum"}}),
        ({"kd_share": 0.5}, {"distillation": {"kd_weight": 3, "label_weight": 2}}),
        ({"kd_weight": 0}, {"distillation": {"objective": "top_k", "k": 3, "temperature": 9}}),
    ],
)
def test_a_key_without_influence_leaves_the_id(context, change):
    plain = {"distillation": context}
    assert tag_point(**merged(plain, change)).id == tag_point(**plain).id


@pytest.mark.parametrize(
    ("context", "change"),
    [
        ({"objective": "top_k"}, {"distillation": {"k": 3}}),
        ({"objective": "top_wk"}, {"distillation": {"path_temperature": 3}}),
        ({"objective": "posterior_top_wk"}, {"distillation": {"combine": "sum"}}),
        ({"objective": "exact"}, {"distillation": {"exact_temperature": "global"}}),
        ({}, {"distillation": {"temperature": 3}}),
        ({}, {"distillation": {"kd_share": {"start": 1, "end": 0, "num_stairs": 4}}}),
        ({}, {"head": {"pooling": "mean"}}),
        ({}, {"data": {"columns": {"drop_types": True}}}),
        ({}, {"lineage": {"keep_first_teachers": True}}),
        ({}, {"training": {"transition_learning_rate": 0.5}}),
        ({}, {"base": {"train": {"teachers": "one"}}}),
    ],
)
def test_a_key_with_influence_changes_the_id(context, change):
    plain = {"distillation": context}
    assert tag_point(**merged(plain, change)).id != tag_point(**plain).id


def test_first_teachers_have_names_of_their_own_for_all_that_their_bytes_depend_on():
    plain = tag_point().first_teachers
    assert [*plain.values()] == ["en", "es"] and len(plain) == 2
    same = [
        {"seed": 5},
        {"training": {"learning_rate": 1}},
        {"distillation": {"k": 3}},
        {"data": {"budget": 3}},
        {"selection": {"max_items": 2}},
    ]
    assert all(tag_point(**change).first_teachers == plain for change in same)
    other = [
        {"head": {"lstm_size": 4}},
        {"data": {"max_length": 32}},
        {"data": {"columns": {"drop_types": True}}},
        {"data": {"languages": ["es", "en"]}},
        {"data": {"train": {"num_items": 25}}},
        {"base": {"train": {"epochs": 9}}},
        {"base": {"train": {"seed": 9}}},
        {"compute": {"precision": "bf16"}},
    ]
    names = [{*tag_point(**change).first_teachers} for change in other]
    assert all(not each & {*plain} for each in names)
    assert [*tag_point(base={"train": {"teachers": "one"}}).first_teachers.values()] == [None]


def test_without_a_training_the_given_model_teaches_all():
    given = tag_point(base={"train": None})
    assert given.first_teachers == {given.base: None}
    # Its head is its own: where teachers are trained it is made anew.
    assert given.base != tag_point().base


def test_what_students_start_from_does_not_depend_on_how_teachers_are_trained():
    plain = tag_point().base
    assert plain == tag_point(base={"train": {"epochs": 9, "teachers": "one"}}).base
    # But its head is drawn with their seed.
    assert plain != tag_point(base={"train": {"seed": 9}}).base


def test_a_recipe_holds_no_key_of_the_other_task():
    missing = object()
    for task, point in (("tagging", tag_point()), ("qa", Identity(sweep_of(FILES["qa"]()).point))):
        assert all(at_path(point.recipe, key.split("."), missing) is missing for key in foreign(task))
