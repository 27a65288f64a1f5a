import json

import pytest

from raykd.config.point import LineageConfig
from raykd.results.points import GenerationRecord, Generations
from raykd.worker.lineage import Driver, GenerationSpec, Lineage

RECORDS = (
    GenerationRecord(1, "one", 60.0, best_artifact="one-best", best_score=62.0),
    GenerationRecord(2, "two", 55.0, best_artifact="two-best", best_score=58.0),
    GenerationRecord(3, "three", 70.0, best_artifact="three-best", best_score=71.0),
)
BASE_SCORE = 50.0

TEACHERS = {  # of generations 1, 2 and 3
    "snapshot": [("base",), ("one",), ("two",)],
    "best": [("base",), ("one-best",), ("one-best",)],
    "ensemble": [("base",), ("base", "one"), ("base", "one", "two")],
    "fixed": [("base",), ("base",), ("base",)],
}
FIRST = ("load", None)  # the lineage's first student
STARTS = {
    **{("previous", teacher): [FIRST, ("continue", None), ("continue", None)] for teacher in TEACHERS},
    **{("base", teacher): [FIRST, FIRST, FIRST] for teacher in TEACHERS},
    ("teacher", "snapshot"): [FIRST, ("load", "one"), ("load", "two")],
    ("teacher", "best"): [FIRST, ("load", "one-best"), ("load", "one-best")],
    ("teacher", "ensemble"): [FIRST, ("load", "one"), ("load", "two")],
    ("teacher", "fixed"): [FIRST, FIRST, FIRST],
}


def lineage(base_score: float | None = BASE_SCORE, **config) -> Lineage:
    return Lineage(LineageConfig(**config), "base", base_score)


def scored(*scores: float | None) -> list[GenerationRecord]:
    names = ("one", "two", "three", "four", "five")
    return [GenerationRecord(i + 1, name, score) for i, (name, score) in enumerate(zip(names, scores, strict=False))]


@pytest.mark.parametrize(("student_init", "teacher"), STARTS)
def test_three_generations_of_every_combination(student_init, teacher):
    rules = lineage(num_generations=3, student_init=student_init, teacher=teacher)
    for done in range(3):
        start, start_from = STARTS[student_init, teacher][done]
        expected = GenerationSpec(done + 1, TEACHERS[teacher][done], start, start_from)
        assert rules.next(RECORDS[:done]) == expected
    assert rules.next(RECORDS) is None
    assert rules.final(RECORDS) == "three"


def test_the_best_teacher_changes_when_a_later_epoch_is_better():
    rules = lineage(num_generations=4, teacher="best")
    assert rules.next(RECORDS).teachers == ("three-best",)


def test_the_best_teacher_is_generation_0_while_no_student_is_better():
    rules = lineage(62.0, num_generations=4, teacher="best")
    assert rules.next(RECORDS[:1]).teachers == ("base",)  # 62 is no better than 62
    assert rules.next(RECORDS[:2]).teachers == ("base",)
    assert rules.next(RECORDS).teachers == ("three-best",)


def test_of_equally_good_epochs_the_earlier_teaches():
    first = GenerationRecord(1, "one", 60.0, "one-best", 62.0)
    second = GenerationRecord(2, "two", 60.0, "two-best", 62.0)
    assert lineage(num_generations=3, teacher="best").next([first, second]).teachers == ("one-best",)


def test_one_generation_is_a_lineage():
    rules = lineage(num_generations=1)
    assert rules.next([]) == GenerationSpec(1, ("base",), "load", None)
    assert rules.next(scored(10.0)) is None
    assert rules.final(scored(10.0)) == "one"


def test_without_a_gate_a_worse_student_is_promoted_too():
    rules = lineage(num_generations=5)
    assert rules.promoted(scored(40.0, 30.0)) == ["base", "one", "two"]
    assert rules.next(scored(40.0, 30.0)).teachers == ("two",)


def test_the_gate_promotes_a_rise_of_exactly_min_delta():
    rules = lineage(num_generations=5, min_delta=1.0)
    assert rules.promoted(scored(51.0)) == ["base", "one"]
    assert rules.promoted(scored(50.9)) == ["base"]


def test_the_gate_measures_against_the_last_that_was_promoted():
    # 55 is promoted; 55.5 and 55.9 are not a point above it; 56 is.
    rules = lineage(num_generations=5, min_delta=1.0, patience=3)
    assert rules.promoted(scored(55.0, 55.5, 55.9, 56.0)) == ["base", "one", "four"]


def test_a_gate_of_zero_promotes_an_equal_score():
    assert lineage(num_generations=3, min_delta=0.0).promoted(scored(50.0)) == ["base", "one"]


def test_a_missing_score_opens_the_gate():
    assert lineage(None, num_generations=3, min_delta=1.0).promoted(scored(1.0, 1.5)) == ["base", "one"]
    assert lineage(num_generations=3, min_delta=1.0).promoted(scored(None)) == ["base", "one"]


def test_a_refused_student_does_not_teach():
    rules = lineage(num_generations=5, min_delta=1.0, patience=2)
    assert rules.next(scored(49.0)).teachers == ("base",)
    assert rules.next(scored(60.0, 59.0)).teachers == ("one",)
    ensemble = lineage(num_generations=5, min_delta=1.0, patience=2, teacher="ensemble")
    assert ensemble.next(scored(60.0, 59.0, 62.0)).teachers == ("base", "one", "three")


def test_the_student_goes_on_even_where_it_was_refused():
    spec = lineage(num_generations=5, min_delta=1.0, patience=2).next(scored(49.0))
    assert (spec.start, spec.start_from) == ("continue", None)


def test_a_student_that_starts_from_its_teacher_is_the_first_student_again_where_none_was_promoted():
    # Generation 0 itself is no place to start from: the first student may have fewer layers.
    spec = lineage(num_generations=5, min_delta=1.0, patience=2, student_init="teacher").next(scored(49.0))
    assert spec == GenerationSpec(2, ("base",), "load", None)


@pytest.mark.parametrize(
    ("patience", "scores", "goes_on"),
    [
        (1, (49.0,), False),
        (1, (60.0,), True),
        (1, (60.0, 60.5), False),
        (2, (49.0,), True),
        (2, (49.0, 49.0), False),
        (2, (49.0, 60.0, 60.0), True),
        (2, (60.0, 49.0, 60.0), False),
        (3, (60.0, 49.0, 60.0), True),
    ],
)
def test_the_lineage_stops_after_patience_generations_in_a_row_without_a_promotion(patience, scores, goes_on):
    rules = lineage(num_generations=5, min_delta=1.0, patience=patience)
    assert (rules.next(scored(*scores)) is not None) == goes_on


def test_patience_means_nothing_without_a_gate():
    assert lineage(num_generations=5, patience=1).next(scored(49.0, 48.0)) is not None


def test_what_a_lineage_delivers_is_the_newest_promoted_student():
    rules = lineage(num_generations=3, min_delta=1.0, patience=3)
    assert rules.final(scored(60.0, 59.0, 58.0)) == "one"
    assert rules.final(scored(60.0, 59.0, 61.0)) == "three"
    assert rules.final(scored(49.0, 48.0, 47.0)) == "base"
    assert rules.final([]) == "base"


def of_teachers(*first: str, **config) -> Lineage:
    """A lineage whose base was never trained: others teach its first student."""
    return Lineage(LineageConfig(**config), "base", BASE_SCORE, first)


FIRST_TEACHERS = {  # of generations 1, 2 and 3; generation 2 was not promoted
    "snapshot": [("en", "es"), ("one",), ("one",)],
    "best": [("en", "es"), ("one-best",), ("one-best",)],
    "ensemble": [("en", "es"), ("en", "es", "one"), ("en", "es", "one")],
    "fixed": [("en", "es")] * 3,
}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("teacher", FIRST_TEACHERS)
def test_several_first_teachers_stand_for_generation_0_and_can_be_kept(teacher, keep):
    options = {"num_generations": 3, "min_delta": 1.0, "patience": 3, "keep_first_teachers": keep}
    rules = of_teachers("en", "es", teacher=teacher, **options)
    for done, names in enumerate(FIRST_TEACHERS[teacher]):
        kept = tuple(name for name in ("en", "es") if keep and name not in names)
        assert rules.next(RECORDS[:done]).teachers == (*names, *kept)


def test_a_first_student_starts_from_the_base_and_never_from_its_teachers():
    rules = of_teachers("en", "es", num_generations=3, student_init="teacher", min_delta=1.0, patience=2)
    assert (rules.next([]).start_from, rules.next(scored(60.0)).start_from) == (None, "one")
    assert rules.next(scored(49.0)) == GenerationSpec(2, ("en", "es"), "load", None)


def test_the_base_is_not_delivered_where_it_was_only_a_start():
    options = {"num_generations": 5, "min_delta": 1.0, "patience": 3}
    assert of_teachers("all", **options).final(scored(49.0, 48.0)) == "all"
    assert of_teachers("en", "es", **options).final(scored(48.0, 49.0, 49.0)) == "two"
    assert of_teachers("en", "es", **options).final(scored(60.0, 49.0)) == "one"


def test_the_driver_remembers_what_it_was_told_and_answers_as_the_lineage():
    driver = Driver(lineage(num_generations=2))
    assert driver.next([]).index == 1
    assert driver.next(scored(60.0)).index == 2
    assert driver.next(scored(60.0, 61.0)) is None
    assert [record.artifact for record in driver.records] == ["one", "two"]


def test_a_record_survives_json():
    written = Generations(tuple(RECORDS))
    read = Generations.from_json(json.loads(json.dumps(written.to_json())), where="generations.json")
    assert read == written
