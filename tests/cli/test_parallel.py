"""Commands on sweeps of task parallel: what is wrong is said in one line each, and nothing is started."""

import json
from pathlib import Path

import pytest
import yaml
from support.tiny_sweeps import pair_sweep

from raykd.cli import main
from raykd.config.keys import merged
from raykd.data.smallworld_tokenizer import build_tokenizer

CODES = {"en": "eng", "es": "spa"}
PAIRS = {
    "es": [("Ada wrote.", "Ada escribió."), ("Rome is old.", "Roma es vieja.")],
    "zh": [("Ada wrote.", "艾达写了。"), ("Rome is old.", "罗马很古老。"), ("Lima is new.", "利马很新。")],
}
LABELLED = {
    "en": ["Ada wrote.\tAda read.\tno", "Rome is old.\tRome ages.\tyes"],
    "es": ["Ada escribió.\tAda leyó.\tno", "Roma es vieja.\tRoma envejece.\tyes"],
}
commands = pytest.mark.parametrize("command", ["plan", "sweep"])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty current folder, no data folder, no Hub, and no cluster that a sweep could start on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAYKD_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")


def write(keys: dict) -> str:
    Path("sweep.yaml").write_text(yaml.safe_dump(keys))
    return "sweep.yaml"


def lines_of(name: str, *lines: str) -> None:
    Path(name).write_text("".join(f"{line}\n" for line in lines))


def file_sweep(**changes) -> dict:
    """A sweep over files that are right as they are.

    `train.CODE.eng` and `train.CODE.CODE` line by line, `dev.LANGUAGE` in two columns, and labelled pairs
    `probe.LANGUAGE`.
    """
    for language, pairs in PAIRS.items():
        code = CODES.get(language, language)
        lines_of(f"train.{code}.eng", *(english for english, _ in pairs))
        lines_of(f"train.{code}.{code}", *(other for _, other in pairs))
        lines_of(f"dev.{language}", *("\t".join(pair) for pair in pairs))
    for language, lines in LABELLED.items():
        lines_of(f"probe.{language}", *lines)
    files = {"builtin": None, "num_items": None}
    probe = {"train": {"path": "probe.{language}"}, "source": {"path": "probe.{language}"}, "languages": ["es"]}
    keys = pair_sweep(
        data={"train": {**files, "path": "train.{language}.{side}", "codes": CODES}, "budget": "all"},
        selection={
            "source": {**files, "path": "dev.{language}"},
            "languages": ["es", "zh"],
            "zero_shot": {"same": probe},
        },
    )
    return merged(keys, changes)


def tokenizer_in(folder: str, *, without: str = "", **config) -> None:
    """A model folder without weights: the built-in world's tokenizer, without one of its special tokens."""
    build_tokenizer(Path(folder))
    path = Path(folder) / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings.pop(without, None)
    path.write_text(json.dumps(settings))
    model = {"model_type": "bert", "hidden_size": 64, "num_attention_heads": 4, **config}
    (Path(folder) / "config.json").write_text(json.dumps(model))


def slow_tokenizer_in(folder: str) -> None:
    """A model folder of a tokenizer that has no fast version."""
    Path(folder).mkdir()
    (Path(folder) / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    (Path(folder) / "config.json").write_text(json.dumps({"model_type": "t5"}))


def refused(capsys, keys: dict, command: str = "plan") -> list[str]:
    """The lines of a command that must be refused: exit code 2, no traceback, no results folder."""
    assert main([command, write(keys)]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and not Path("runs").exists()
    lines = [line for line in said.splitlines() if line.startswith("raykd: ")]
    return [line.removeprefix("raykd: ").replace(f"{Path.cwd()}/", "") for line in lines]


# Plan -------------------------------------------------------------------------------------------------------------


def test_a_plan_counts_points_pairs_and_passes(capsys):
    keys = file_sweep(
        methods={"tlm": {"distillation": {"kd_weight": 0}}, "all": {}, "live": {"distillation": {"signals": "live"}}},
        search={"space": {"distillation.multilevel.structure_temperature": [0.1, 1]}},
        seeds=[1, 2],
    )
    assert main(["plan", write(keys), "--points"]) == 0
    said = capsys.readouterr().out
    assert "10 points of 3 methods" in said
    # The first teacher's signals for each seed's pairs, and those of one later teacher of each of four points.
    assert "signals: 6 teacher passes, outputs saved" in said
    # 2 pairs of each of 2 languages and 2 of English with itself, 2 generations, 10 points.
    assert "training: 120 examples" in said
    assert "all structure_temperature=0.1 seed=2" in said and "tlm seed=1" in said


# Files ------------------------------------------------------------------------------------------------------------


@commands
def test_files_of_different_lengths_are_named_with_their_numbers_of_lines(capsys, command):
    keys = file_sweep()
    lines_of("train.spa.spa", "Ada escribió.")
    assert refused(capsys, keys, command) == [
        "train.spa.eng has 2 lines, train.spa.spa has 1; aligned files need the same number of lines"
    ]


@commands
def test_an_empty_side_names_file_and_line(capsys, command):
    keys = file_sweep()
    lines_of("train.spa.spa", "Ada escribió.", " ")
    lines_of("dev.zh", "Ada wrote.\t艾达写了。", "\t罗马很古老。")
    assert refused(capsys, keys, command) == [
        "train.spa.spa: line 2: one side is empty, the other is 'Rome is old.'; fill it, or remove the pair",
        "dev.zh: line 2: one side is empty, the other is '罗马很古老。'; fill it, or remove the pair",
    ]


def test_a_language_without_pairs_is_named(capsys):
    keys = file_sweep()
    for name in ("train.spa.eng", "train.spa.spa"):
        lines_of(name, "", "")
    lines_of("dev.zh")
    assert refused(capsys, keys) == [
        "train.spa.eng and train.spa.spa: no pair of en and es; add some, or remove the language",
        "dev.zh: no pair of en and zh; add some, or remove the language",
    ]


def test_a_missing_file_says_what_was_tried_and_what_to_do(capsys):
    keys = file_sweep()
    Path("train.spa.spa").unlink()
    (line,) = refused(capsys, keys)
    assert line.startswith(
        "train.spa.spa: not found; tried train.spa.spa (RAYKD_DATA is not set). To do: set RAYKD_DATA"
    )
    assert "codes" not in line


def test_sides_without_codes_are_looked_for_by_the_languages_and_codes_are_named(capsys):
    keys = file_sweep(data={"train": {"codes": None}, "languages": ["es"]}, selection={"languages": ["es"]})
    lines = refused(capsys, keys)
    assert lines[0].startswith("train.es.en: not found; tried ")
    assert lines[0].endswith(", or map en and es to the names in the file with `codes`")
    assert lines[1:] == ["not found in the same places: train.es.es"]


def test_a_column_that_is_missing_names_file_and_line(capsys):
    keys = file_sweep()
    lines_of("dev.es", "Ada wrote.\tAda escribió.", "Rome is old.")
    assert refused(capsys, keys) == [
        "dev.es: line 2: 1 tab-separated field, need 2 (English<TAB>other) in 'Rome is old.'"
    ]


def test_a_budget_beyond_a_language_names_it(capsys):
    assert refused(capsys, file_sweep(data={"budget": 3})) == [
        "es: budget 3: 2 items are available; give 1 to 2, or 'all'"
    ]


def test_a_test_set_that_is_not_there_is_found_out_before_the_start(capsys):
    lines = refused(capsys, file_sweep(tests={"more": {"source": {"path": "choose.{language}"}, "languages": ["es"]}}))
    assert lines[0].startswith("choose.es: not found")


def test_the_built_in_pairs_are_with_english(capsys):
    change = {"data": {"pivot": "de"}, "selection": {"languages": ["es"]}}
    assert refused(capsys, pair_sweep(**change)) == ["small world: data.pivot: got 'de'; its pairs are with en"]


# Zero-shot tasks --------------------------------------------------------------------------------------------------


@commands
def test_a_label_that_the_probe_never_sees_names_file_and_line(capsys, command):
    keys = file_sweep()
    lines_of("probe.es", *LABELLED["es"], "Roma es vieja.\tRoma.\tperhaps", "Roma.\tRoma.\tperhaps")
    assert refused(capsys, keys, command) == [
        "probe.es: line 3: label 'perhaps': the probe knows only no, yes; correct the label, or add training pairs "
        "with it"
    ]


def test_a_sample_without_one_of_the_labels_says_what_to_raise(capsys):
    keys = file_sweep()
    lines_of("probe.en", *(f"{name} wrote.\t{name} read.\tno" for name in map(str, range(50))), LABELLED["en"][1])
    keys["selection"]["zero_shot"]["same"]["max_train"] = 2
    assert refused(capsys, keys) == [
        "probe.{language}: the 2 pairs to fit a probe on have the labels no; needed: no, yes; raise max_train, or "
        "num_items of built-in data"
    ]
    keys["selection"]["zero_shot"]["same"]["max_train"] = None
    lines_of("probe.en", *(f"Ada wrote.\tAda read.\t{label}" for label in ("no", "yes")))
    assert refused(capsys, keys) == [
        "probe.{language}: the 2 pairs to fit a probe on have one first sentence; two are needed; raise max_train, or "
        "num_items of built-in data"
    ]


def test_an_empty_field_of_a_labelled_pair_names_file_and_line(capsys):
    keys = file_sweep()
    lines_of("probe.es", *LABELLED["es"], "Roma\t\tno")
    assert refused(capsys, keys) == ["probe.es: line 3: second: empty in 'Roma<TAB><TAB>no'"]


# Models -----------------------------------------------------------------------------------------------------------


@commands
def test_a_student_that_cannot_learn_from_masked_tokens_is_found_out_before_the_start(capsys, command):
    tokenizer_in("student", without="mask_token")
    tokenizer_in("teacher", without="mask_token")
    keys = file_sweep(base={"model": "./student"}, teacher={"model": "./teacher"})
    (line,) = refused(capsys, keys, command)
    assert line.startswith("tokenizer student: has no mask token, which a student needs to learn from pairs; use")


def test_a_teacher_without_a_fast_tokenizer_is_found_out_before_the_start(capsys):
    slow_tokenizer_in("teacher")
    (line,) = refused(capsys, file_sweep(teacher={"model": "./teacher"}, lineage={"teacher": "fixed"}))
    assert line == "teacher: its tokenizer has no fast version, which raykd needs for offsets; convert it first"
    # Nobody reads a teacher without a KD term.
    assert main(["plan", write(file_sweep(teacher={"model": "./teacher"}, distillation={"kd_weight": 0}))]) == 0


def test_a_teacher_without_a_tokenizer_says_what_a_folder_needs(capsys):
    tokenizer_in("teacher")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (Path("teacher") / name).unlink()
    (line,) = refused(capsys, file_sweep(teacher={"model": "./teacher"}))
    assert line == "teacher: its tokenizer has no vocabulary; add its files to the folder, like tokenizer.json"


def test_a_student_that_reads_less_than_the_file_asks_for_is_found_out_before_the_start(capsys):
    tokenizer_in("student")
    tokenizer_in("teacher")
    files = {"base": {"model": "./student"}, "teacher": {"model": "./teacher"}}
    (line,) = refused(capsys, file_sweep(**files, data={"max_length": 513}))
    assert line == "max_length: got 513; tokenizer student allows 5 to 512"


def test_a_teacher_of_another_size_than_later_ones_is_found_out_before_the_start(capsys):
    tokenizer_in("student")
    tokenizer_in("teacher", hidden_size=32)
    keys = file_sweep(base={"model": "./student"}, teacher={"model": "./teacher"})
    assert refused(capsys, keys) == [
        "lineage.teacher snapshot: vectors of ./teacher have 32 numbers, those of students 64; use lineage.teacher "
        "fixed, or a teacher with vectors of their size"
    ]
    for lineage in ({"teacher": "fixed"}, {"num_generations": 1}):
        assert main(["plan", write(merged(keys, {"lineage": lineage}))]) == 0


def test_a_model_that_is_not_there_is_named_once(capsys):
    keys = file_sweep(base={"model": "./none"}, teacher={"model": "nobody/nothing"})
    first, second = refused(capsys, keys)
    assert first.startswith("model ./none: no such folder")
    assert second.startswith("model nobody/nothing: no such folder, and the Hub does not give it")


# Keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": {"languages": ["en", "es"]}}, "selection.languages are paired with en: remove it from them"),
        ({"training": {"micro_batch_tokens": 511}}, "micro_batch_tokens at least 512 (it is 511), no "),
        ({"selection": {"epoch_max_items": 0}}, "selection.epoch_max_items is 0; task parallel checks"),
        (
            {"distillation": {"multilevel": {"word_weight": 0, "sentence_weight": 0, "structure_weight": 0}}},
            "distillation.multilevel: all weights are 0",
        ),
        ({"distillation": {"coefficient": "map_at_k"}}, "coefficient: task parallel does not have this key; remove it"),
        ({"head": {"kind": "crf"}}, "head: task parallel does not have this key; remove it"),
        ({"data": {"train": {"builtin": None, "num_items": None, "hub": "a/b"}}}, "data.train: hub a/b needs a split"),
    ],
)
@commands
def test_what_the_file_says_wrong_is_one_line(capsys, change, said, command):
    (line,) = refused(capsys, pair_sweep(**change), command)
    assert line.startswith("sweep.yaml: ") and said in line


def test_everything_that_is_wrong_with_files_is_said_at_once(capsys):
    keys = file_sweep(data={"budget": 3})
    lines_of("dev.zh", "Ada wrote.\t")
    lines_of("probe.es", *LABELLED["es"], "Roma.\tRoma.\tperhaps")
    keys["tests"] = {"more": {"source": {"path": "dev.{language}"}, "languages": ["zh"]}}
    lines = refused(capsys, keys)
    assert [line.partition(":")[0] for line in lines] == ["es", "dev.zh", "probe.es"]
