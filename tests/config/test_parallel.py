"""Sweep files of task parallel: what they mean, what is said about wrong ones, and which points are the same."""

from pathlib import Path

import pytest
import yaml
from support.tiny_sweeps import pair_point, pair_sweep, sweep, tag_sweep

from raykd.config.keys import at_path, leaf_keys, merged, point_keys, with_path
from raykd.errors import ConfigError
from raykd.plan.file import json_schema, load_sweep, sweep_of
from raykd.plan.points import make_plan
from raykd.plan.sweep import SweepConfig
from raykd.results.points import GenerationRecord
from raykd.tasks import TASKS
from raykd.tasks.parallel.config import MultilevelConfig
from raykd.worker.lineage import Lineage

NO_TEACHER = {"distillation": {"kd_weight": 0}}
PROBE = {
    "train": {"builtin": "small-world", "num_items": 4},
    "source": {"builtin": "small-world", "num_items": 4},
    "languages": ["en", "es"],
}


def weights(**values: float) -> dict:
    """A change to the weights of the levels; those that are not named are 0."""
    names = ("word", "sentence", "structure")
    return {"distillation": {"multilevel": {f"{name}_weight": values.get(name, 0) for name in names}}}


def read(folder: Path, keys: dict) -> SweepConfig:
    (folder / "x.yaml").write_text(yaml.safe_dump(keys))
    return load_sweep(folder / "x.yaml")


def problems(folder: Path, keys: dict) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, keys)
    return [line.removeprefix(f"{folder / 'x.yaml'}: ") for line in caught.value.problems]


# Keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base.train", {"source": {"builtin": "small-world", "num_items": 8}}),
        ("base.gguf_file", "x.gguf"),
        ("head", {"kind": "softmax"}),
        ("data.train.rows", [0, 2]),
        ("data.stride", 1),
        ("data.columns", {"tag": 1}),
        ("distillation.temperature", 2),
        ("distillation.objective", "posterior"),
        ("distillation.coefficient", "map_at_k"),
        ("selection.normalization", "squad"),
        ("training.pad_to_max", True),
    ],
)
def test_a_key_of_another_task_is_refused_in_one_line(tmp_path, key, value):
    text = "task parallel does not have this key; remove it"
    assert problems(tmp_path, with_path(pair_sweep(), tuple(key.split(".")), value)) == [f"{key}: {text}"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("teacher", {"pooling": "mean"}),
        ("distillation.multilevel", {"word_weight": 1}),
        ("data.mixing", {"identity": False}),
        ("data.train.codes", {"en": "eng"}),
        ("selection.zero_shot", {"x": PROBE}),
    ],
)
@pytest.mark.parametrize("other", [sweep, tag_sweep])
def test_its_own_keys_are_refused_elsewhere(tmp_path, other, key, value):
    task = other().get("task", "qa")
    lines = problems(tmp_path, with_path(other(), tuple(key.split(".")), value))
    assert f"{key}: task {task} does not have this key; remove it" in lines


def test_a_preset_of_question_answering_is_refused_in_one_line(tmp_path):
    line = "preset: got 'legacy'; task parallel has no presets; remove the key"
    assert problems(tmp_path, pair_sweep(preset="legacy")) == [line]


@pytest.mark.parametrize("name", MultilevelConfig.model_fields)
def test_every_key_of_its_objectives_can_be_searched(tmp_path, name):
    default = MultilevelConfig.model_fields[name].default
    key = f"distillation.multilevel.{name}"
    assert key in leaf_keys(TASKS["parallel"].point)
    (point,) = make_plan(read(tmp_path, pair_sweep(search={"space": {key: [default]}}))).points
    assert point.id == pair_point(**with_path({}, tuple(key.split(".")), default)).id


def test_a_searched_value_is_checked_with_the_rest_of_the_point(tmp_path):
    keys = merged(pair_sweep(search={"space": {"distillation.multilevel.word_weight": [1, 0]}}), weights(word=1))
    (line,) = problems(tmp_path, keys)
    assert line.startswith("search.space.distillation.multilevel.word_weight: value 0: distillation.multilevel: all ")


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        ("word_weight", [-1], "value -1: must be greater than or equal to 0"),
        ("structure_temperature", [0], "value 0: must be greater than 0"),
        ("word_similarity", [1], "value 1: must be 'dot' or 'cosine'"),
        ("word_wight", [1], "unknown key; did you mean 'distillation.multilevel.word_weight'?"),
    ],
)
def test_a_wrong_dimension_of_its_objectives_is_named(tmp_path, key, values, said):
    (line,) = problems(tmp_path, pair_sweep(search={"space": {f"distillation.multilevel.{key}": values}}))
    assert line == f"search.space.distillation.multilevel.{key}: {said}"


def test_a_wrong_key_of_a_zero_shot_task_names_the_keys_there(tmp_path):
    lines = problems(tmp_path, pair_sweep(selection={"zero_shot": {"x": {**PROBE, "langages": ["es"]}}}))
    assert lines == ["selection.zero_shot.x.langages: unknown key; did you mean 'languages'?"]
    lines = problems(tmp_path, pair_sweep(selection={"zero_shot": {"x": {**PROBE, "qqq": 1}}}))
    assert lines == [
        "selection.zero_shot.x.qqq: unknown key; the keys here are "
        "train, source, languages, max_train, max_items"
    ]  # fmt: skip


def test_the_schema_describes_its_sections():
    schema = json_schema()
    sections = schema["$defs"]
    assert {"TeacherConfig", "MultilevelConfig", "MixingConfig", "ZeroShotConfig"} <= sections.keys()
    assert sections["MultilevelConfig"]["properties"].keys() == MultilevelConfig.model_fields.keys()
    assert all(field["description"] for field in sections["MultilevelConfig"]["properties"].values())
    names = sections["SearchConfigOfParallelPoint"]["properties"]["space"]["propertyNames"]["enum"]
    assert {f"distillation.multilevel.{name}" for name in MultilevelConfig.model_fields} <= {*names}
    assert {"teacher.model", "teacher.pooling", "data.mixing.kind", "selection.zero_shot"} <= {*names}
    (alternative,) = (each for each in schema["oneOf"] if each["properties"]["task"].get("const") == "parallel")
    assert "task" in alternative["required"] and "teacher" in alternative["properties"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("teacher.pooling", "cls"),
        ("distillation.multilevel.pooling", "mean"),
        ("data.max_length", 32),
        ("data.languages", ["es"]),
    ],
)
def test_optuna_cannot_choose_what_teachers_and_their_scores_depend_on(tmp_path, key, value):
    search = {"algorithm": "optuna", "num_points": 2, "space": {key: {"choice": [value]}}}
    lines = problems(tmp_path, pair_sweep(search=search))
    assert any(
        line.startswith(f"search.space.{key}: generation 0 and its scores are computed before") for line in lines
    )


def test_optuna_needs_a_teacher_in_the_file(tmp_path):
    def searched(key: str, **distillation) -> dict:
        space = {key: {"uniform": [0, 1]}}
        search = {"algorithm": "optuna", "num_points": 2, "space": space}
        return pair_sweep(distillation=distillation, search=search)

    for key in ("distillation.kd_weight", "distillation.kd_share"):
        (line,) = problems(tmp_path, searched(key, kd_weight=0))
        wanted = f"search.space.{key}: the teacher is computed before optuna chooses, and the file has kd_weight 0"
        assert line.startswith(wanted)
        assert read(tmp_path, searched(key))


# Combinations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": {"languages": ["en", "es"]}}, "are paired with en: remove it from them"),
        ({"selection": {"languages": ["en", "es"]}}, "are paired with en: remove it from them"),
        ({"data": {"pivot": "es"}}, "are paired with es: remove it from them"),
        ({"data": {"languages": ["es", "es"]}}, "a language is listed twice"),
        (weights(), "distillation.multilevel: all weights are 0: nothing to distil; set kd_weight: 0"),
        ({"lineage": {"teacher": "ensemble"}}, "task parallel has one teacher at a time"),
        ({"lineage": {"keep_first_teachers": True}}, "task parallel has one teacher at a time"),
        (
            {"student": {"num_layers": 1}},
            "student: a student of task parallel starts from base.model, of which",
        ),
        ({"selection": {"epoch_max_items": 0}}, "selection.epoch_max_items is 0; task parallel checks them"),
        ({"distillation": {"label_weight": 0, "kd_weight": 0}}, "nothing would be trained"),
        ({"teacher": {"pooling": "max"}}, "teacher.pooling: got 'max'; must be 'cls' or 'mean'"),
        ({"base": {"model": "some/encoder"}}, "random weights for the built-in world, and base.model some/encoder"),
        ({"selection": {"zero_shot": {"x": {**PROBE, "languages": []}}}}, "number of values must be at least 1"),
        ({"selection": {"zero_shot": {"x": {**PROBE, "max_train": 1}}}}, "got 1; must be greater than or equal to 2"),
        ({"data": {"mixing": {"kind": "sampled", "exponent": 2}}}, "exponent: got 2; must be less than or equal to 1"),
        (
            {"data": {"train": {"builtin": None, "num_items": None, "hub": "a/b"}}},
            "data.train: hub a/b needs a split, or hub_files",
        ),
        (
            {"data": {"train": {"builtin": None, "num_items": None, "hub": "a/b", "split": "x", "hub_files": "*"}}},
            "hub_files excludes hub_config and split; put them into its pattern",
        ),
        ({"data": {"train": {"hub_revision": "v1"}}}, "hub_revision, hub_files and hub_codes need hub"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, change, said):
    (line,) = problems(tmp_path, pair_sweep(**change))
    assert said in line


def test_without_a_teacher_its_weights_and_its_model_do_not_matter(tmp_path):
    for change in (weights(), {"base": {"model": "some/encoder"}}):
        assert read(tmp_path, pair_sweep(**merged(NO_TEACHER, change)))
    assert read(tmp_path, pair_sweep(base={"model": "some/encoder"}, teacher={"model": "some/teacher"}))
    assert read(tmp_path, pair_sweep(teacher={"model": "some/teacher"}))


@pytest.mark.parametrize("names", [["retrieval"], ["retrieval_es"], ["effective_rank"], ["main"], ["x", "x_en"]])
def test_a_zero_shot_task_cannot_have_the_name_of_another_score(tmp_path, names):
    (line,) = problems(tmp_path, pair_sweep(selection={"zero_shot": dict.fromkeys(names, PROBE)}))
    assert line == f"selection.zero_shot: these names are taken: {names[-1]}; choose other names"
    assert read(tmp_path, pair_sweep(selection={"zero_shot": dict.fromkeys(["xnli", "x_es"], PROBE)}))


GATHERED = "distillation.multilevel.relations gathered compares all sentences of a step"


@pytest.mark.parametrize(
    ("training", "num_workers", "needed"),
    [
        ({"tokens_per_step": 512, "micro_batch_tokens": 512}, 1, None),
        ({"tokens_per_step": 513, "micro_batch_tokens": 512}, 1, 513),
        ({"tokens_per_step": 513, "micro_batch_tokens": 512}, 4, 513),
        ({"micro_batch_examples": 4}, 1, 512),
        # 64 pairs of up to 64 tokens, on one worker at once.
        ({"tokens_per_step": None, "examples_per_step": 64, "micro_batch_tokens": 4096}, 1, None),
        ({"tokens_per_step": None, "examples_per_step": 64, "micro_batch_tokens": 4095}, 1, 4096),
        ({"tokens_per_step": None, "examples_per_step": 64, "micro_batch_tokens": 4095}, 2, 4096),
        # Two micro-batches of 32 hold the step, so that three workers share it out.
        ({"tokens_per_step": None, "examples_per_step": 64, "micro_batch_tokens": 2048}, 3, None),
        ({"tokens_per_step": None, "examples_per_step": 64, "micro_batch_tokens": 2047}, 3, 2048),
        ({"tokens_per_step": None, "examples_per_step": 64, "micro_batch_tokens": 512}, 9, None),
    ],
)
def test_gathered_relations_need_every_workers_share_in_one_micro_batch(tmp_path, training, num_workers, needed):
    change = {"training": training, "compute": {"num_workers": num_workers}}
    if needed is None:
        assert read(tmp_path, pair_sweep(**change))
        return
    (line,) = problems(tmp_path, pair_sweep(**change))
    assert line.startswith(GATHERED) and f"micro_batch_tokens at least {needed} " in line
    # Where sentences are compared with no others of a step, micro-batches may be of any size.
    local = {"distillation": {"multilevel": {"relations": "local"}}}
    for allowed in (local, weights(word=1), NO_TEACHER):
        assert read(tmp_path, pair_sweep(**merged(change, allowed)))


def test_the_levels_are_those_that_count():
    assert pair_point().config.levels == {"word", "sentence", "structure"}
    assert pair_point(**weights(structure=10)).config.levels == {"structure"}
    assert pair_point(**NO_TEACHER).config.levels == frozenset()


# Identity ---------------------------------------------------------------------------------------------------------


def multilevel(**values) -> dict:
    return {"distillation": {"multilevel": values}}


SAMPLED = {"data": {"mixing": {"kind": "sampled"}}}
SAME = [
    (weights(sentence=1), multilevel(word_temperature=3, word_similarity="cosine")),
    (weights(sentence=1), multilevel(structure_temperature=3)),
    (weights(word=1), multilevel(norm="layer", projection_size=8, relations="local", structure_temperature=3)),
    (weights(word=1), {"teacher": {"pooling": "cls"}}),
    (NO_TEACHER, {"teacher": {"model": "some/teacher", "pooling": "cls"}}),
    (NO_TEACHER, multilevel(word_weight=0, word_temperature=3, norm="layer", relations="local")),
    (NO_TEACHER, {"distillation": {"signals": "live"}}),
    (NO_TEACHER, {"lineage": {"teacher": "fixed"}}),
    ({}, {"data": {"mixing": {"exponent": 1}}}),
    ({}, {"selection": {"batch_tokens": 64}, "compute": {"executor": "train"}}),
    ({"distillation": {"kd_share": 0.5}}, {"distillation": {"kd_weight": 3, "label_weight": 2}}),
]
OTHER = [
    ({}, multilevel(word_temperature=3)),
    ({}, multilevel(word_similarity="cosine")),
    ({}, multilevel(structure_temperature=3)),
    ({}, multilevel(word_weight=2)),
    ({}, multilevel(pooling="mean")),
    ({}, {"teacher": {"pooling": "cls"}}),
    ({}, {"distillation": {"signals": "live"}}),
    ({}, {"data": {"pivot": "de", "languages": ["es"]}, "selection": {"languages": ["es"]}}),
    ({}, {"selection": {"zero_shot": {"x": PROBE}}}),
    ({}, {"data": {"mixing": {"identity": False}}}),
    (SAMPLED, {"data": {"mixing": {"exponent": 1}}}),
    (weights(sentence=1), multilevel(norm="layer")),
    (weights(structure=1), multilevel(projection_size=8)),
    (weights(structure=1), multilevel(relations="local")),
    (weights(word=1), multilevel(pooling="mean")),
    (NO_TEACHER, multilevel(pooling="mean")),
    (NO_TEACHER, {"distillation": {"label_weight": 2}}),
    (NO_TEACHER, {"data": {"mixing": {"identity": False}}}),
]


@pytest.mark.parametrize(("context", "change"), SAME)
def test_a_key_without_influence_leaves_the_id(context, change):
    assert pair_point(**merged(context, change)).id == pair_point(**context).id


@pytest.mark.parametrize(("context", "change"), OTHER)
def test_a_key_with_influence_changes_the_id(context, change):
    assert pair_point(**merged(context, change)).id != pair_point(**context).id


def test_two_baselines_with_different_sentence_vectors_are_two_points(tmp_path):
    space = {"distillation.multilevel.pooling": ["cls", "mean"], "distillation.multilevel.word_weight": [1, 2]}
    points = make_plan(read(tmp_path, pair_sweep(**NO_TEACHER, search={"space": space}))).points
    assert [point.label for point in points] == ["default pooling=cls seed=1", "default pooling=mean seed=1"]


def test_a_recipe_holds_no_key_of_another_task():
    missing, own = object(), {*point_keys(TASKS["parallel"].point)}
    foreign = {key for task in TASKS.values() for key in point_keys(task.point)} - own
    assert all(at_path(pair_point().recipe, key.split("."), missing) is missing for key in foreign)
    assert pair_point(**NO_TEACHER).recipe["distillation"] == {"label_weight": 1, "multilevel": {"pooling": "cls"}}


@pytest.mark.parametrize(
    ("change", "base", "teacher"),
    [
        ({"seed": 5}, True, True),
        ({"data": {"max_length": 32, "languages": ["es"], "budget": 3}}, True, True),
        ({"training": {"learning_rate": 1}, "lineage": {"num_generations": 1}}, True, True),
        (weights(word=2), True, True),
        ({"selection": {"max_items": 2}, "compute": {"precision": "bf16"}}, True, True),
        ({"base": {"model": "some/encoder"}, "teacher": {"model": "some/teacher"}}, False, False),
        (multilevel(pooling="mean"), False, True),
        ({"teacher": {"pooling": "cls"}}, True, False),
        ({"teacher": {"model": "some/teacher"}}, True, False),
    ],
)
def test_generation_0_and_the_first_teacher_are_named_for_what_their_bytes_depend_on(change, base, teacher):
    plain, changed = pair_point(), pair_point(**change)
    assert (changed.base == plain.base) == base
    assert (changed.first_teachers == plain.first_teachers) == teacher
    assert changed.generation_zero == {changed.base: None}


def test_a_masked_token_head_that_nobody_chose_or_trains_makes_no_other_point():
    given = {"base": {"model": "some/encoder"}, "teacher": {"model": "some/teacher"}}

    def point_with(head: str | None, **changes):
        return pair_point(**given, distillation={"masked_head": head, **changes})

    kinds = (None, "own", "new")
    assert point_with(None).id == pair_point(**given).id
    assert len({point_with(head).id for head in kinds}) == 3
    assert len({point_with(head, label_weight=0).id for head in kinds}) == 1
    # Generation 0 keeps the head that its model came with, whoever starts from it.
    assert len({point_with(head).base for head in kinds}) == 1


def test_the_built_in_model_has_no_masked_token_head_of_its_own(tmp_path):
    (line,) = problems(tmp_path, pair_sweep(distillation={"masked_head": "own"}))
    assert line == ("distillation.masked_head own: builtin:tiny has no masked-token head; set it to new, or remove it")
    assert read(tmp_path, pair_sweep(distillation={"masked_head": "own", "label_weight": 0}))


def test_the_first_teacher_is_not_generation_0_unless_there_is_none():
    (teacher,) = pair_point().first_teachers
    assert teacher != pair_point().base
    without = pair_point(**NO_TEACHER)
    assert without.first_teachers == without.generation_zero == {without.base: None}


def test_stored_words_are_signals_of_their_own(tmp_path):
    plain = pair_point().signals
    assert pair_point(**weights(word=2, structure=1)).signals == plain
    assert pair_point(**weights(structure=1)).signals != plain
    methods = {"all": {}, "more": multilevel(word_weight=2), "no-word": multilevel(word_weight=0), "ce": NO_TEACHER}
    plan = make_plan(read(tmp_path, pair_sweep(methods=methods)))
    # Of the first teacher with words and without; and of one later teacher of each of three points.
    assert plan.num_signal_passes == 2 + 3


def test_scores_depend_on_what_is_trained_on():
    assert pair_point().config.scored_languages == ["en", "es", "zh"]
    assert sweep_of(tag_sweep()).point.scored_languages == ["en", "es"]
    assert sweep_of(sweep()).point.scored_languages is None


# Lineage ----------------------------------------------------------------------------------------------------------


def lineage(**config) -> tuple[Lineage, str, str]:
    """The rules of a point, as a job makes them, its generation 0 and its English teacher; generation 0 scores 50."""
    point = pair_point(lineage={"num_generations": 3, "min_delta": 1, "patience": 3, **config})
    (base,), (teacher,) = point.generation_zero, point.first_teachers
    return Lineage(point.config.lineage, base, 50.0, (teacher,), (base,)), base, teacher


def records(*scores: float) -> list[GenerationRecord]:
    return [GenerationRecord(number, f"student {number}", score) for number, score in enumerate(scores, 1)]


def test_a_gate_that_nobody_passes_delivers_generation_0_and_not_the_english_teacher():
    rules, base, _ = lineage()
    assert rules.final(records(49, 50, 48)) == base
    assert rules.final(records(49, 60, 48)) == "student 2"


@pytest.mark.parametrize("student_init", ["previous", "teacher", "base"])
def test_the_english_teacher_teaches_until_a_student_is_promoted_and_no_student_starts_from_it(student_init):
    rules, _, teacher = lineage(student_init=student_init)
    for done, teaches in ((records(), teacher), (records(49), teacher), (records(60), "student 1")):
        spec = rules.next(done)
        assert spec.teachers == (teaches,)
        assert spec.start_from in (None, "student 1") and spec.start_from != teacher
    assert rules.next(records(49)).start_from is None


def test_a_fixed_teacher_is_the_english_one():
    rules, _, teacher = lineage(teacher="fixed")
    assert rules.next(records(60)).teachers == (teacher,)
