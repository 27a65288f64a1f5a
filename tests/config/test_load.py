"""Sweep files: what they mean, and what is said about wrong ones."""

from pathlib import Path
from typing import Any

import pytest

from raykd.config.yaml import parse_value
from raykd.errors import ConfigError
from raykd.plan.file import json_schema, load_sweep, sweep_of
from raykd.plan.sweep import Race, SweepConfig

HEAD = """
name: small
data: {train: {path: train.json}}
selection: {source: {path: dev.json}}
"""


def read(tmp_path: Path, text: str, **keywords: Any) -> SweepConfig:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return load_sweep(path, **keywords)


def problems(tmp_path: Path, text: str, **keywords: Any) -> list[str]:
    """The lines of the error, without the file's name; each must start with it."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, **keywords)
    prefix = f"{tmp_path / 'x.yaml'}: "
    assert all(line.startswith(prefix) and "\n" not in line for line in caught.value.problems)
    return [line.removeprefix(prefix) for line in caught.value.problems]


def test_a_short_file_takes_the_defaults(tmp_path):
    sweep = read(tmp_path, HEAD)
    assert (sweep.point.distillation.temperature, sweep.point.data.max_length, sweep.seeds) == (2.0, 384, None)


def test_no_is_norwegian_and_1e_4_is_a_number(tmp_path):
    sweep = read(tmp_path, HEAD.replace("data: {", "data: {languages: [en, no], num_target_languages: 1, "))
    assert sweep.point.data.languages == ("en", "no")
    assert read(tmp_path, HEAD + "training: {learning_rate: 1e-4}").point.training.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("true", True), ("null", None), ("~", None), ("1e-4", 1e-4),
        (".5", 0.5), ("-3", -3), ("010", 10), ("1:30", "1:30"), ("2020-01-01", "2020-01-01"), (".inf", ".inf"),
        ("'1'", "1"), ("[1, a]", [1, "a"]),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text, value):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)


def test_a_key_that_stands_twice_is_an_error_with_both_lines(tmp_path):
    assert problems(tmp_path, "name: a\nseed: 1\nname: b\nbase: {model: a, model: b}\n") == [
        "line 3: key 'name' stands here twice, first in line 1",
        "line 4: key 'model' stands here twice, first in line 4",
    ]


def test_an_anchor_can_be_merged_and_its_keys_overridden(tmp_path):
    text = HEAD + "training: &t {warmup: 0.1, learning_rate: 1e-3}\nmethods: {a: {training: {<<: *t, warmup: 0.2}}}"
    assert read(tmp_path, text).methods["a"]["training"] == {"warmup": 0.2, "learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "empty; a sweep file needs at least name, data.train and selection.source"),
        ("# nothing", "empty; a sweep file needs at least name, data.train and selection.source"),
        ("- 1", "got [1]; a sweep file is a mapping of keys to values, like `name: first`"),
        ("a: [1\nb: 2", "line 2, column 2: expected ',' or ']', but got ':'"),
        ("a: *b", "line 1, column 4: found undefined alias 'b'"),
        ("1: x", "line 1: a key must be text; write '1' in quotes"),
        ("a: &a [*a]", "line 1, column 4: found unconstructable recursive node"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_in_one_line(tmp_path, text, line):
    assert problems(tmp_path, text) == [line]


def test_yaml_cannot_make_python_objects(tmp_path):
    (line,) = problems(tmp_path, "a: !!python/object/apply:os.getcwd []")
    assert "could not determine a constructor" in line


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_sweep(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_sweep(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(ConfigError, match="not UTF-8 text: byte 6 is 0xe9"):
        load_sweep(tmp_path / "latin.yaml")


def test_all_errors_are_told_at_once(tmp_path):
    text = """
name: a b
temperatur: 1
data: {train: {path: a, builtin: small-world, num_items: 3}, no_answer: clss, languages: [en, true]}
distillation: {temprature: 2, k: 2.5, window: [5], temperature: -1, kd_weight: {start: 1}, label_weight: x}
compute: {num_workers: "2"}
methods:
  skd: {distillation: {temprature: 3, coefficient: map_at}, seeds: [1]}
search: {space: {distillation.tempereture: [1], data.budget: [0, 64, al], training.warmup: 3}}
"""
    assert sorted(problems(tmp_path, text)) == sorted(
        [
            "name: got 'a b'; must be letters, digits, '.', '_' and '-', a letter or a digit first",
            "temperatur: unknown key; did you mean 'distillation.temperature'?",
            "data.train: builtin excludes path and hub",
            "data.no_answer: got 'clss'; must be 'drop' or 'cls'; did you mean 'cls'?",
            "data.languages.1: got true; must be text (put numbers, true and false in quotes)",
            "distillation.temprature: unknown key; did you mean 'temperature'?",
            "distillation.k: got 2.5; must be a whole number",
            "distillation.window: got [5]; must be a list of two numbers",
            "distillation.temperature: got -1; must be greater than 0",
            "distillation.kd_weight.end: missing; this key is required",
            (
                "distillation.label_weight: got 'x'; "
                "must be a number or a section with keys among start, end, shape, until, num_stairs, over"
            ),
            "compute.num_workers: got '2'; must be a whole number or a list",
            "selection: missing; this key is required",
            "methods.skd.distillation.temprature: unknown key; did you mean 'temperature'?",
            (
                "methods.skd.distillation.coefficient: got 'map_at'; "
                "must be 'constant', 'map_at_k' or 'reciprocal_rank'; did you mean 'map_at_k'?"
            ),
            (
                "methods.skd.seeds: seeds belongs to the whole sweep: list it at the top level of the file, "
                "or set or search seed"
            ),
            "search.space.distillation.tempereture: unknown key; did you mean 'distillation.temperature'?",
            "search.space.data.budget: value 0: must be greater than or equal to 1",
            "search.space.data.budget: value 'al': must be a whole number or 'all'; did you mean 'all'?",
            (
                "search.space.training.warmup: got 3; must be a list, or a section with one of the keys grid, choice, "
                "uniform, log_uniform, int_range"
            ),
        ]
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "distillation: {zzz: 1}",
            (
                "distillation.zzz: unknown key; the keys here are label_weight, kd_weight, kd_share, objective, "
                "temperature, direction, coefficient, k, window, reduce, reduce_group, context_only, signals"
            ),
        ),
        (
            "student: 3",
            "student: got 3; must be a section with keys among model, num_layers, layers, new_head, vocabulary",
        ),
        ("training: {learning_rate: 0}", "training.learning_rate: got 0; must be greater than 0"),
        ("distillation: {window: 2.5}", "distillation.window: got 2.5; must be a whole number or a list"),
        ("seeds: []", "seeds: got []; number of values must be at least 1"),
        ("preset: legcy", "preset: got 'legcy'; must be 'legacy'"),
        ("compute: {offload: cpu}", "compute: offload needs zero_stage 1, 2 or 3"),
        ("compute: {num_workers: 0}", "compute.num_workers: got 0; must be greater than or equal to 1"),
        ("compute: {num_workers: [2]}", "compute.num_workers: got [2]; must be a list of two numbers"),
        (
            "compute: {num_workers: [4, 2]}",
            "compute: num_workers is [4, 2]; the smaller number comes first",
        ),
        (
            "compute: {num_workers: [1, 2], executor: inline}",
            "compute: executor inline takes one worker, num_workers is 2",
        ),
        ("compute: {checkpoint_seconds: -1}", "compute.checkpoint_seconds: got -1; must be greater than or equal to 0"),
        ("search: {algorithm: random, space: {seed: {choice: [1]}}}", "search: algorithm random needs num_points"),
        (
            "lineage: {teacher: best}\nselection: {source: {path: a}, epoch_max_items: 0}",
            "lineage.teacher best needs a score after every epoch: set selection.epoch_max_items above 0",
        ),
    ],
)
def test_a_wrong_value_says_what_is_allowed(tmp_path, text, line):
    head = HEAD.replace("selection", "unused") if "selection" in text else HEAD
    head = "\n".join(row for row in head.splitlines() if not row.startswith("unused"))
    assert problems(tmp_path, f"{head}\n{text}") == [line]


def space(text: str, *, head: str = "algorithm: random, num_points: 2") -> str:
    return f"{HEAD}search: {{{head}, space: {{{text}}}}}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "distillation.temperature: {uniform: [-1, 2]}",
            "distillation.temperature: value -1.0: must be greater than 0",
        ),
        ("distillation.k: {uniform: [1, 1.5]}", "distillation.k: value 1.0: must be a whole number"),
        ("data.stride: {int_range: [9, 2]}", "data.stride.int_range: the first bound, 9, must be below the second, 2"),
        ("data.budget: {choice: []}", "data.budget.choice: got []; number of values must be at least 1"),
        ("data.budget: {chioce: [1]}", 'data.budget: got {"chioce": [1]}; must be a list, or a section with one of'),
        ("data: {budget: [1]}", "data: write nested keys with dots, like data.budget"),
        ("name: [a]", "name: name belongs to the whole sweep; set it at the top level of the file"),
        ("seeds: [1]", "seeds: seeds belongs to the whole sweep"),
        ("temperature: [1]", "temperature: unknown key; did you mean 'distillation.temperature'?"),
        ("qqqqqqqq: [1]", "qqqqqqqq: unknown key; `raykd schema` lists the keys"),
        (
            "base.train: {choice: [null, {source: {path: a}, epochs: 0}]}",
            'base.train: value {"source": {"path": "a"}, "epochs": 0}: epochs: '
            "got 0; must be greater than or equal to 1",
        ),
        (
            "data.languages: {choice: [[en, es]]}",
            'data.languages: value ["en", "es"]: data: num_target_languages is 3; with 2 languages it can be 0 to 1',
        ),
    ],
)
def test_a_searched_value_is_checked_in_the_whole_point(tmp_path, text, line):
    found = problems(tmp_path, space(text))
    assert len([row for row in found if row.startswith(f"search.space.{line}")]) == 1


def test_a_searched_value_breaks_a_rule_between_sections_in_one_method(tmp_path):
    text = f"{HEAD}methods: {{a: {{selection: {{epoch_max_items: 0}}}}, b: }}\n"
    assert problems(tmp_path, text + "search: {space: {lineage.teacher: [snapshot, best]}}") == [
        (
            "search.space.lineage.teacher: value 'best': lineage.teacher best needs a score after every epoch: set "
            "selection.epoch_max_items above 0 (in method a)"
        )
    ]


def test_a_value_that_every_method_replaces_is_not_its_fault(tmp_path):
    text = f"{HEAD}methods: {{a: {{distillation: {{temperature: 4}}}}}}\n"
    assert read(tmp_path, text + "search: {space: {distillation.temperature: [1, 2]}}").methods


def test_a_list_is_a_grid_and_asha_a_scheduler(tmp_path):
    sweep = read(tmp_path, HEAD + "search: {scheduler: asha, space: {distillation.temperature: [1, 2]}}")
    assert sweep.search.model_dump()["space"] == {"distillation.temperature": {"grid": (1, 2)}}
    assert sweep.search.scheduler is not None and sweep.search.scheduler.grace_epochs == 1


@pytest.mark.parametrize("text", ["scheduler: pbt", "algorithm: pbt", "pbt: {}", "scheduler: {pbt: {}}"])
def test_pbt_is_refused_and_asha_is_named(tmp_path, text):
    (line,) = problems(tmp_path, f"{HEAD}search: {{{text}}}")
    assert "PBT is not supported" in line and "asha" in line


def test_asha_needs_a_dev_score_after_every_epoch(tmp_path):
    text = HEAD + "search: {scheduler: asha}\nmethods: {a: {selection: {epoch_max_items: 0}}}"
    (line,) = problems(tmp_path, text)
    assert line.startswith("methods.a.selection.epoch_max_items: got 0; search.scheduler asha compares")


def test_optuna_needs_one_executor_and_a_seed_is_named_once(tmp_path):
    optuna = "algorithm: optuna, num_points: 2"
    (line,) = problems(tmp_path, space("compute.num_workers: {choice: [1, 2]}", head=optuna))
    assert line.startswith("search.space.compute.num_workers: algorithm optuna needs the same executor")
    text = space("data.budget: {choice: [1, 2]}", head=optuna) + "\nmethods: {a: {}, b: {compute: {num_workers: 2}}}"
    (line,) = problems(tmp_path, text)
    assert line == "search.algorithm: optuna needs the same executor for all points, but a runs inline; b runs train"
    (line,) = problems(tmp_path, HEAD + "seeds: [1]\nsearch: {space: {seed: [1, 2]}}")
    assert line == "search.space.seed: seeds is set too; remove one of the two"


RACE = "seeds: [1, 2, 3]\nsearch: {algorithm: race, "


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "search: {algorithm: race}",
            "algorithm race needs at least 2 seeds (search.race.min_seeds), like `seeds: [1, 2]`; got 0",
        ),
        (
            RACE + "race: {min_seeds: 4}}",
            "algorithm race needs at least 4 seeds (search.race.min_seeds), like `seeds: [1, 2, 3, 4]`; got 3",
        ),
        (
            RACE + "space: {data.budget: [8]}}\nmethods: {a: {}, b: {seed: 3}}",
            "algorithm race gives every configuration the same seeds: remove `seed` from method b",
        ),
        (
            RACE + "space: {data.budget: {choice: [8, 9]}}}",
            "search: algorithm race needs num_points to sample data.budget",
        ),
        (
            RACE + "num_points: 3, space: {data.budget: [8, 9]}}",
            "search: algorithm race takes num_points only where it samples: remove it, or add choice or a range",
        ),
        (
            RACE + "scheduler: asha}",
            "search: algorithm race takes no scheduler: it compares points that ran to their end",
        ),
        ("search: {race: {level: 0.1}}", "search: race needs algorithm race"),
        (RACE + "race: {level: 5}}", "search.race.level: got 5; must be less than 1"),
        (RACE + "race: {min_seeds: 1}}", "search.race.min_seeds: got 1; must be greater than or equal to 2"),
        (RACE + "race: {margins: 1}}", "search.race.margins: unknown key; did you mean 'margin'?"),
    ],
)
def test_what_a_race_needs(tmp_path, text, line):
    assert problems(tmp_path, HEAD + text) == [line]


def test_a_race_takes_a_grid_or_draws_and_is_read_again_from_its_keys(tmp_path):
    sweep = read(tmp_path, HEAD + RACE + "race: {margin: 1}, space: {data.budget: [8, 9]}}")
    assert (sweep.search.race.margin, sweep.search.race.level) == (1, 0.05)
    drawn = read(tmp_path, HEAD + RACE + "num_points: 2, space: {data.budget: [8], data.stride: {choice: [9]}}}")
    assert sweep_of(drawn.to_json()) == drawn and sweep_of(read(tmp_path, HEAD).to_json()).search.race == Race()


def test_the_file_wins_over_its_preset_and_overrides_win_over_the_file(tmp_path):
    text = HEAD + "preset: legacy\ndistillation: {temperature: 8, k: 5}\n"
    sweep = read(tmp_path, text, overrides={"distillation.k": 3, "search.space.data.budget": [8, 16]})
    knobs = sweep.point.distillation
    assert (knobs.temperature, knobs.k, knobs.coefficient, knobs.window) == (8, 3, "reciprocal_rank", (5, 4))
    assert (sweep.point.training.tokens_per_step, sweep.point.training.examples_per_step, sweep.point.seed) == (
        None,
        24,
        3,
    )
    assert list(sweep.search.space) == ["data.budget"]
    assert problems(tmp_path, HEAD, overrides={"data.bugdet": 3}) == [
        "data.bugdet: unknown key; did you mean 'budget'?"
    ]


def test_the_schema_describes_methods_and_the_search_space():
    schema = json_schema()
    qa = schema["oneOf"][0]
    assert set(qa["required"]) == {"name", "data", "selection"}
    knobs = schema["$defs"]["QaDistillation"]["properties"]
    assert (
        knobs["temperature"]["exclusiveMinimum"] == 0 and "Softmax temperature" in knobs["temperature"]["description"]
    )
    method = qa["properties"]["methods"]["additionalProperties"]
    assert "distillation" in method["properties"] and "seeds" not in method["properties"]
    assert "required" not in schema["$defs"]["PartialQaData"] and "train" in schema["$defs"]["QaData"]["required"]
    searched = schema["$defs"]["SearchConfigOfQaPoint"]["properties"]["space"]
    assert searched["additionalProperties"]["anyOf"][0]["type"] == "array"
    assert "distillation.temperature" in searched["propertyNames"]["enum"]
