"""The worker loop on tagging: monolingual teachers, later generations, resumed points. Real engines, no Ray."""

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.points import (
    epochs,
    killed_after,
    losses,
    opened,
    ready,
    reports,
    run,
    shared_files,
    sharing,
    weights,
)
from support.rescored import check_rebuilt
from support.tiny_sweeps import tag_point

from raykd.config.identity import Identity
from raykd.errors import ArtifactError
from raykd.models.tagging import HEAD_CONFIG
from raykd.results.artifacts import Store, hash_folder
from raykd.results.journal import Journal
from raykd.tasks import TASKS
from raykd.worker.passes import base_scores, signal_store, teacher_signals

LEARNING = TASKS["tagging"].learning


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A results folder with generation 0, its scores and signals."""
    root = tmp_path_factory.mktemp("prepared")
    ready(opened(root), tag_point())
    return root


def teachers_of(wanted: Identity) -> dict[str, str]:
    """Language -> its teacher."""
    return {language: name for name, language in wanted.first_teachers.items()}


# Generation 0 -----------------------------------------------------------------------------------------------------


def test_each_language_has_one_teacher_that_is_trained_on_it_alone(context):
    wanted, base = tag_point(), tag_point().base
    teachers = teachers_of(wanted)
    assert list(teachers) == ["en", "es"] and base not in teachers.values()
    for language, name in teachers.items():
        record = context.store.verify(name)
        assert (record.kind, record.base, record.language) == ("teacher", base, language)
    assert len({context.store.record(name).data for name in teachers.values()}) == 2


def test_points_share_teachers_scores_and_signals_and_a_second_start_makes_nothing_again(tmp_path, prepared):
    context, base = sharing(prepared, tmp_path), tag_point().base
    before = shared_files(tmp_path)
    knobs = [{"objective": "top_k", "k": 2}, {"temperature": 4}, {"objective": "exact"}, {"kd_share": 0.5}]
    points = [tag_point(distillation=each, seed=1) for each in knobs]
    assert {each.base for each in points} == {base}
    assert {tuple(each.first_teachers) for each in points} == {tuple(tag_point().first_teachers)}
    assert [line for line in ready(context, *points) if "scores" not in line] == []
    assert shared_files(tmp_path) == before


def test_another_seed_of_a_point_adds_signals_and_no_teacher(context):
    wanted = tag_point(seed=2)
    scores, signals = ready(context, wanted)
    assert scores.startswith("generation 0 scores")
    assert "signals of the first teachers are stored" in signals
    assert ready(context, wanted) == [scores]


def test_one_teacher_of_all_languages_is_another_one(context, prepared):
    wanted = tag_point(base={"train": {"teachers": "one"}})
    lines = ready(context, wanted)
    assert any(line.startswith("teacher of all languages: epoch 1/1") for line in lines)
    assert list(wanted.first_teachers.values()) == [None]
    assert not {*wanted.first_teachers} & {*tag_point().first_teachers}


def test_generation_0_is_scored_language_by_language(context):
    wanted = tag_point()
    scores = base_scores(context.store, wanted)
    assert list(scores.final.cells) == ["en", "es", "zh"]
    assert scores.epoch.cells["en"]["num_sentences"] == 2


def test_a_teacher_is_asked_about_its_own_language_alone(context):
    wanted = tag_point()
    train = context.train_set(wanted)
    for language, name in teachers_of(wanted).items():
        rows = LEARNING.taught_by(train.features, language, named=wanted.first_teachers.values())
        assert {train.features.languages[number] for number in train.features.language[rows]} == {language}
        store = signal_store(context, name, wanted)
        assert len(store.missing(train.features.ids)) == len(train.features) - len(rows)
    readings = teacher_signals(context, tuple(wanted.first_teachers), wanted, in_memory=None)
    assert [reading.arrays["emissions"].dtype for reading in readings] == [torch.float16] * 2
    assert [set(reading.constants) for reading in readings] == [{"between", "start", "end"}] * 2
    assert not torch.equal(readings[0].constants["between"], readings[1].constants["between"])


# Generations ------------------------------------------------------------------------------------------------------


def test_a_point_ends_with_a_verified_artifact_and_scores_of_every_language(context):
    result = run(context, tag_point())
    check_rebuilt(Journal(context.store).points.outcomes(tag_point().id), result.scores)
    (base,) = Journal(context.store).sweep.base_scores()
    check_rebuilt(base.outcomes, base.final)
    record = context.store.verify(result.artifact)
    assert record.generation == 2 and record.parents == (result.generations[0].artifact,)
    assert list(result.scores.cells) == ["en", "es", "zh"]
    assert set(result.data["budgets"]) == {"en", "es"} and result.num_windows == 24


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("teacher", ["snapshot", "ensemble", "fixed"])
def test_later_generations_learn_from_the_student_and_from_the_first_teachers_where_asked(context, teacher, keep):
    wanted = tag_point(lineage={"teacher": teacher, "keep_first_teachers": keep, "keep": "all"})
    student, first = run(context, wanted).generations[0].artifact, (*wanted.first_teachers,)
    later = {"snapshot": (student,), "ensemble": (*first, student), "fixed": first}[teacher]
    later += tuple(name for name in first if keep and name not in later)
    assert [epoch.teachers for epoch in epochs(context, wanted)] == [first, later]


def test_a_student_that_starts_at_its_own_teacher_has_nothing_to_learn_but_labels(context):
    # Generation 2 starts where generation 1 ended; half precision of the signals is what is left.
    wanted = tag_point(lineage={"student_init": "teacher"}, training={"dropout": 0.0})
    run(context, wanted)
    per_epoch = len(losses(context, wanted)) // 2
    kd = losses(context, wanted)[:, 2]
    assert kd[0] > 1e-2
    assert kd[per_epoch] == pytest.approx(0, abs=1e-3)


def test_the_best_teacher_is_chosen_by_the_selection_set(context):
    lineage = {"teacher": "best", "num_generations": 3, "keep": "all"}
    wanted = tag_point(lineage=lineage, selection={"epoch_max_items": 6}, training={"learning_rate": 1e-2})
    ready(context, wanted)
    scores = base_scores(context.store, wanted)
    assert (scores.final.cells["en"]["num_sentences"], scores.epoch.cells["en"]["num_sentences"]) == (8, 6)
    result = run(context, wanted)
    found = epochs(context, wanted)
    best, expected = scores.epoch.main_value, [*wanted.first_teachers]
    for epoch, generation in zip(found, result.generations, strict=True):
        assert [*epoch.teachers] == expected
        assert generation.epoch_scores == (epoch.dev_score,)
        if epoch.dev_score > best:
            assert generation.best_score == epoch.dev_score
            best, expected = epoch.dev_score, [generation.best_artifact]
    assert best > scores.epoch.main_value


def test_a_gate_that_nobody_passes_delivers_the_best_student_where_generation_0_is_several_models(context):
    # The base artifact is a start and no teacher: nobody trained it.
    wanted = tag_point(lineage={"min_delta": 100, "patience": 2, "num_generations": 3})
    result = run(context, wanted)
    students = {each.artifact: each.dev_score for each in result.generations}
    assert len(students) == 2
    assert students[result.artifact] == max(students.values())
    assert context.store.has(result.artifact)


def test_a_gate_that_nobody_passes_delivers_the_one_teacher_of_all_languages(context):
    wanted = tag_point(base={"train": {"teachers": "one"}}, lineage={"min_delta": 100, "num_generations": 3})
    ready(context, wanted)
    result = run(context, wanted)
    assert [result.artifact] == [*wanted.first_teachers]
    assert result.scores == base_scores(context.store, wanted).final


def test_the_baseline_stores_no_signals_and_has_no_teacher(prepared, tmp_path):
    wanted = tag_point(distillation={"kd_weight": 0})
    context = sharing(prepared, tmp_path, folders=("artifacts", "scores"))
    ready(context, wanted)
    run(context, wanted)
    assert not (tmp_path / "signals").exists()
    assert (losses(context, wanted)[:, 2] == 0).all()


def test_a_killed_point_goes_on_and_ends_with_the_same_bits(context, prepared, tmp_path_factory):
    wanted = tag_point(
        lineage={"epochs_per_generation": 2, "keep_first_teachers": True},
        training={"dropout": 0.1, "weight_decay": 0.01, "transition_learning_rate": 1e-2},
        distillation={"objective": "posterior_top_wk", "k": 3, "kd_share": {"start": 1, "end": 0}},
        head={"lstm_size": 8},
    )
    ready(context, wanted)
    others = [sharing(context.store.root, tmp_path_factory.mktemp("killed")) for _ in range(3)]
    undisturbed = run(context, wanted)
    # Of two generations of two epochs each: the schedule begins anew.
    assert [report.kd_weight for report in epochs(context, wanted)] == [0.75, 0.25, 0.75, 0.25]
    for num_epochs, other in enumerate(others, 1):
        killed_after(other, wanted, num_epochs)
        assert [report.epoch for report in reports(other, wanted)] == list(range(num_epochs + 1, 5))
        again = Journal(other.store).points.result(wanted.id)
        assert again.scores == undisturbed.scores
        expected, found = weights(context, undisturbed.artifact), weights(other, again.artifact)
        assert all(torch.equal(expected[name], found[name]) for name in expected)


# Parts of the model -----------------------------------------------------------------------------------------------


PARTS = ("transitions", "lstm", "emissions", "encoder")


def moved(context, **training: float) -> dict[str, float]:
    """Largest change of a weight in one small step, for transitions, BiLSTM, emissions and encoder."""
    wanted = tag_point(
        head={"lstm_size": 8},
        training={"learning_rate": 1e-4, "tokens_per_step": 100_000, "micro_batch_tokens": 100_000, **training},
        lineage={"num_generations": 1},
        selection={"epoch_max_items": 0},
    )
    ready(context, wanted)
    before, after = weights(context, wanted.base), weights(context, run(context, wanted).artifact)
    change = {name: float((after[name] - tensor).abs().max()) for name, tensor in before.items()}
    owner = {name: next((part for part in PARTS if name.startswith(f"{part}.")), "encoder") for name in change}
    return {part: max(change[name] for name in change if owner[name] == part) for part in PARTS}


def test_the_first_step_moves_each_part_by_its_own_learning_rate(context):
    # The first step of Adam is as long as the learning rate, whatever the gradient.
    def by(**rates: float):
        return {name: pytest.approx(rates.get(name, 1e-4), rel=0.02) for name in PARTS}

    assert moved(context) == by()
    assert moved(context, transition_learning_rate=5e-2) == by(transitions=5e-2)
    assert moved(context, head_learning_rate=2e-3) == by(transitions=2e-3, lstm=2e-3, emissions=2e-3)
    both = {"head_learning_rate": 2e-3, "transition_learning_rate": 5e-2}
    assert moved(context, **both) == by(transitions=5e-2, lstm=2e-3, emissions=2e-3)


@pytest.mark.parametrize("head", [{"lstm_size": 8}, {"freeze_encoder": True}])
def test_every_zero_stage_trains_the_same_with_a_learning_rate_for_transitions_alone(context, head):
    found = {}
    for stage in (0, 2, 3):
        training = {"transition_learning_rate": 1e-2, "learning_rate": 1e-3, "dropout": 0.0}
        wanted = tag_point(head=head, training=training, compute={"zero_stage": stage})
        ready(context, wanted)
        result = run(context, wanted)
        found[stage] = losses(context, wanted), weights(context, result.artifact)
    for stage in (2, 3):
        torch.testing.assert_close(found[stage][0], found[0][0], atol=1e-4, rtol=1e-4)
        assert found[stage][1].keys() == found[0][1].keys()
        for name, tensor in found[stage][1].items():
            torch.testing.assert_close(tensor, found[0][1][name], atol=2e-3, rtol=0, msg=name)


def test_a_frozen_encoder_is_the_same_in_every_generation(context):
    wanted = tag_point(head={"freeze_encoder": True, "lstm_size": 8}, training={"weight_decay": 0.1})
    ready(context, wanted)
    names = [wanted.base, *wanted.first_teachers, run(context, wanted).artifact]
    first, *others = (safetensors.torch.load_file(context.store.artifact(name) / "model.safetensors") for name in names)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)
    assert not torch.equal(*(weights(context, name)["lstm.weight_ih_l0"] for name in (names[0], names[-1])))


@pytest.mark.parametrize("head", [{"kind": "softmax"}, {"lstm_size": 8, "pooling": "mean"}])
def test_bf16_trains_and_hands_over(tmp_path, head):
    wanted = tag_point(compute={"precision": "bf16"}, head=head, selection={"epoch_max_items": 0})
    context = opened(tmp_path)
    ready(context, wanted)
    result = run(context, wanted)
    assert {tensor.dtype for tensor in weights(context, result.artifact).values()} == {torch.float32}
    assert losses(context, wanted).isfinite().all()


def test_micro_batches_change_nothing_but_rounding(context):
    whole, parts = tag_point(), tag_point(training={"micro_batch_tokens": 64})
    run(context, whole), run(context, parts)
    torch.testing.assert_close(losses(context, whole), losses(context, parts), atol=1e-3, rtol=1e-4)


def test_a_teacher_with_another_label_set_is_refused_and_both_sides_are_named(context):
    wanted = tag_point()
    teacher, base = teachers_of(wanted)["es"], wanted.base
    folder = context.store.artifact(teacher)
    text = (folder / HEAD_CONFIG).read_text()
    (folder / HEAD_CONFIG).write_text(text.replace("RIVER", "WATER"))
    Store(folder).write_record("record.json", replace(context.store.record(teacher), files=hash_folder(folder)))
    with pytest.raises(ArtifactError) as caught:
        run(context, wanted)
    (line,) = caught.value.problems
    assert line.startswith(f"{folder}: its labels are O, ") and "S-WATER; those of this lineage" in line
    assert str(context.store.artifact(base)) in line and "S-RIVER: teacher and student need one label set" in line
