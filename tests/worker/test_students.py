"""Students unlike their teachers: fewer layers, another model, another tokenizer, other heads, fewer pieces."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.points import epochs, killed_after, losses, opened, ready, run, sharing, weights
from support.tiny_sweeps import pair_point, point, tag_point
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForQuestionAnswering,
    XLMRobertaModel,
)

from raykd.config.identity import Identity
from raykd.data.smallworld import corpus
from raykd.errors import ArtifactError, DataError
from raykd.models.qa import load_tokenizer
from raykd.tasks import TASKS
from raykd.tasks.tagging import frozen
from raykd.tasks.tagging.teachers import as_cut
from raykd.tasks.teaching import Reading
from raykd.worker.passes import teacher_features


def small_wordpiece() -> PreTrainedTokenizerFast:
    """Pieces of the built-in world that are shorter than those of its own tokenizer."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=260, special_tokens=special, show_progress=False)
    backend.train_from_iterator(corpus(num_items=60), trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=256,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **names,
    )


def sizes(tokenizer: PreTrainedTokenizerFast, *, width: int, layers: int) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 2 * width,
        "pad_token_id": tokenizer.pad_token_id,
    }


def written(models_of: dict[str, Any], tokenizer: PreTrainedTokenizerFast, folders: Any) -> dict[str, str]:
    """Task -> folder with its model and the tokenizer."""
    found = {task: folders.mktemp(task) for task in models_of}
    for task, model in models_of.items():
        model.save_pretrained(found[task])
        tokenizer.save_pretrained(found[task])
    return {task: str(folder) for task, folder in found.items()}


@pytest.fixture(scope="module")
def another(tmp_path_factory) -> dict[str, str]:
    """Task -> folder of a random BERT of one layer, narrower than the built-in one, with a tokenizer of its own."""
    tokenizer = small_wordpiece()
    config = BertConfig(**sizes(tokenizer, width=32, layers=1), max_position_embeddings=256)
    return written({"qa": BertForQuestionAnswering(config), "tagging": BertModel(config)}, tokenizer, tmp_path_factory)


MAKERS = {"qa": point, "tagging": tag_point, "parallel": pair_point}


def done(wanted: Identity, root: Path) -> tuple[Any, Any]:
    context = opened(root)
    ready(context, wanted)
    return context, run(context, wanted)


@pytest.mark.parametrize("task", ["qa", "tagging"])
def test_a_student_of_fewer_layers_is_taught_and_delivered(tmp_path, task):
    context, result = done(MAKERS[task](student={"num_layers": 1, "layers": "first"}), tmp_path)
    model = TASKS[task].model.load(str(context.store.artifact(result.artifact)))
    assert model.config.num_hidden_layers == 1
    assert (losses(context, MAKERS[task](student={"num_layers": 1, "layers": "first"}))[:, 2] > 0).all()


@pytest.mark.parametrize("task", ["qa", "tagging"])
def test_a_student_with_another_tokenizer_is_taught_scored_and_teaches_in_its_turn(tmp_path, task, another):
    wanted = MAKERS[task](student={"model": another[task]}, lineage={"num_generations": 3, "student_init": "base"})
    context, result = done(wanted, tmp_path)
    assert torch.isfinite(losses(context, wanted)).all() and (losses(context, wanted)[:, 2] > 0).all()
    stored = load_tokenizer(str(context.store.artifact(result.artifact)))
    assert len(stored) == len(load_tokenizer(another[task])) != len(context.tokenizer(wanted.base))
    assert [len(epoch.teachers) for epoch in epochs(context, wanted)][1:] == [1, 1]
    train = context.train_set(wanted)
    first, later = epochs(context, wanted)[0].teachers[0], epochs(context, wanted)[1].teachers[0]
    assert teacher_features(context, first, wanted) is not train.features
    assert teacher_features(context, later, wanted) is train.features


XMINI = Path(os.environ.get("RAYKD_DATA", "")) / "../models/xmini-qa-en"


@pytest.fixture(scope="module")
def sentencepiece_teachers(tmp_path_factory) -> dict[str, str]:
    """Task -> folder of a random XLM-R of 12 layers with a real SentencePiece vocabulary."""
    if not os.environ.get("RAYKD_DATA") or not XMINI.is_dir():
        pytest.skip("RAYKD_DATA has no ../models/xmini-qa-en beside it")
    tokenizer = load_tokenizer(str(XMINI))
    tokenizer.model_max_length = 256
    config = XLMRobertaConfig(**sizes(tokenizer, width=16, layers=12), max_position_embeddings=258)
    encoder, asked = XLMRobertaModel(config), XLMRobertaForQuestionAnswering(config)
    return written({"qa": asked, "tagging": encoder, "parallel": encoder}, tokenizer, tmp_path_factory)


@pytest.mark.parametrize("task", ["qa", "tagging", "parallel"])
def test_twelve_layers_of_sentencepiece_teach_a_wordpiece_student(tmp_path, task, sentencepiece_teachers, another):
    large, small = sentencepiece_teachers[task], another["qa" if task == "qa" else "tagging"]
    if task == "parallel":
        wanted = pair_point(base={"model": small}, teacher={"model": large}, lineage={"num_generations": 1})
    else:
        train = None if task == "qa" else {"teachers": "one"}
        base, data = {"model": large, "train": train}, {"max_length": 250}
        wanted = MAKERS[task](base=base, data=data, student={"model": small}, lineage={"num_generations": 1})
    context, result = done(wanted, tmp_path)
    assert torch.isfinite(losses(context, wanted)).all() and (losses(context, wanted)[:, 2] > 0).all()
    model = TASKS[task].model.load(str(context.store.artifact(result.artifact)))
    assert model.config.num_hidden_layers == 1
    if task == "qa":
        assert epochs(context, wanted)[0].watched["mapped"] > 99


@pytest.mark.parametrize(
    ("distillation", "said"),
    [
        ({"context_only": False}, "context_only: false compares questions too"),
        ({"direction": "reverse_kl"}, "direction reverse_kl: the student has another tokenizer"),
    ],
)
def test_what_cannot_be_compared_between_tokenizers_is_refused(tmp_path, another, distillation, said):
    with pytest.raises(DataError, match=said):
        done(point(student={"model": another["qa"]}, distillation=distillation), tmp_path)


def test_a_live_teacher_of_another_tokenizer_is_refused(tmp_path, another):
    wanted = point(student={"model": another["qa"]}, distillation={"signals": "live"})
    with pytest.raises(DataError, match="signals live: the student has another tokenizer"):
        done(wanted, tmp_path)


def test_signals_of_words_fit_windows_that_are_cut_elsewhere(tmp_path, another):
    wanted = tag_point(
        student={"model": another["tagging"]}, data={"max_length": 16}, base={"train": {"teachers": "one"}}
    )
    context = opened(tmp_path)
    ready(context, wanted)
    train, (teacher,) = context.train_set(wanted), wanted.first_teachers
    read = teacher_features(context, teacher, wanted)
    assert len(read) != len(train.features), "the tokenizers cut other windows"
    numbers = torch.arange(int(read.word_bounds[-1]))[:, None].float()
    found = as_cut(Reading(np.arange(len(read)), {"emissions": numbers}, {}, read), train.features)
    assert found.rows.tolist() == list(range(len(train.features)))
    assert found.arrays["emissions"][:, 0].tolist() == list(range(int(train.features.word_bounds[-1])))
    # Of a teacher of one language those windows are there that hold its words.
    rows = read.of_language("es")
    some = as_cut(Reading(rows, {"emissions": numbers[: int(read.word_counts[rows].sum())]}, {}, read), train.features)
    assert {train.features.languages[number] for number in train.features.language[some.rows]} == {"es"}
    assert len(some.rows) == len(train.features.of_language("es"))


@pytest.mark.parametrize("task", ["qa", "tagging"])
def test_a_new_head_is_that_of_the_seed(tmp_path, task):
    context = opened(tmp_path)
    points = [MAKERS[task](student={"new_head": True}, seed=seed) for seed in (1, 2)]
    ready(context, *points)
    first, second = (weights(context, each.student) for each in points)
    base = weights(context, points[0].base)
    changed = {name for name, value in first.items() if not torch.equal(value, second[name])}
    assert changed == ({"qa_outputs.weight"} if task == "qa" else {"emissions.weight"})
    assert all(torch.equal(value, base[name]) for name, value in first.items() if "bert" in name or "encoder" in name)


def test_a_student_that_goes_on_unlike_its_teacher_ends_with_the_same_bits_when_it_was_killed(tmp_path, another):
    wanted = tag_point(student={"model": another["tagging"], "num_layers": 1, "new_head": True})
    context, result = done(wanted, tmp_path / "one")
    (tmp_path / "two").mkdir()
    other = sharing(context.store.root, tmp_path / "two")
    killed_after(other, wanted, 1)
    assert run(other, wanted).artifact == result.artifact
    first, second = weights(context, result.artifact), weights(other, result.artifact)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


# Vocabularies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["qa", "tagging", "parallel"])
def test_a_student_with_fewer_pieces_reads_its_data_as_before_and_is_delivered_so(tmp_path, task):
    few, all_pieces = (MAKERS[task](student=student) for student in ({"vocabulary": {}}, {}))
    context, result = done(few, tmp_path)
    folder = context.store.artifact(result.artifact)
    stored, whole = load_tokenizer(str(folder)), context.tokenizer(few.base)
    assert len(stored) < len(whole)
    model = TASKS[task].model.load(str(folder))
    assert model.get_input_embeddings().weight.shape[0] == len(stored) == model.config.vocab_size
    record = context.store.record(few.student).vocabulary
    assert record["kept"] == len(stored) and record["total"] == len(whole)
    assert all(each["unknown"] == each["trimmed_unknown"] for each in record["languages"].values())
    # The same pieces in the same places.
    assert context.train_set(few).features.lengths.tolist() == context.train_set(all_pieces).features.lengths.tolist()


def test_a_trimmed_student_begins_with_the_losses_of_the_whole_one(tmp_path):
    options = {"lineage": {"num_generations": 1}, "training": {"dropout": 0.0}}
    few, whole = (tag_point(student=student, **options) for student in ({"vocabulary": {}}, {}))
    context = opened(tmp_path)
    ready(context, few, whole)
    for each in (few, whole):
        run(context, each)
    torch.testing.assert_close(losses(context, few)[0], losses(context, whole)[0], rtol=1e-5, atol=1e-6)


def test_a_baseline_and_a_method_have_the_same_vocabulary_and_other_languages_another(tmp_path):
    base = {"train": {"teachers": "one"}}

    def made(texts: Any, languages: list[str], weight: int) -> Identity:
        data = {"unlabelled": {"source": "rest", "languages": languages}}
        keys = {"data": data, "distillation": {"kd_weight": weight}, "base": base}
        return tag_point(student={"vocabulary": {"texts": texts}}, **keys)

    for texts in ("data", {"path": "{language}.txt"}):
        baseline, method = (made(texts, ["en", "zh"], weight) for weight in (0, 1))
        assert baseline.student == method.student != made(texts, ["en"], 1).student
    context = opened(tmp_path)
    baseline = made("data", ["en", "zh"], 0)
    ready(context, baseline)
    assert "zh" in context.store.record(baseline.student).vocabulary["languages"]


def test_a_vocabulary_of_other_texts_that_lacks_a_script_is_refused(tmp_path):
    for language in ("en", "es"):
        (tmp_path / f"{language}.txt").write_text("他出生在倫敦。\n", encoding="utf-8")
    context = opened(tmp_path / "runs", folder=tmp_path)
    with pytest.raises(DataError, match=r"student.vocabulary: en: \d+.*unknown"):
        ready(context, tag_point(student={"vocabulary": {"texts": {"path": "{language}.txt"}}}))


# Frozen encoders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [{"kind": "softmax"}, {"lstm_size": 8, "pooling": "mean"}])
def test_a_frozen_encoder_is_read_once_and_nothing_else_changes(tmp_path, monkeypatch, head):
    objective = {"objective": "token"} if head.get("kind") == "softmax" else {}
    wanted = tag_point(
        head={**head, "freeze_encoder": True},
        distillation=objective,
        lineage={"epochs_per_generation": 2},
        training={"dropout": 0.0},
    )
    context, result = done(wanted, tmp_path / "once")
    monkeypatch.setattr(frozen, "MOST_CACHED", 0)
    other, again = done(wanted, tmp_path / "each")
    torch.testing.assert_close(losses(context, wanted), losses(other, wanted), rtol=1e-5, atol=1e-6)
    first, second = weights(context, result.artifact), weights(other, again.artifact)
    assert all(torch.allclose(value, second[name], atol=1e-5) for name, value in first.items())


def test_a_killed_point_over_a_frozen_encoder_ends_with_the_same_bits(tmp_path):
    wanted = tag_point(head={"freeze_encoder": True}, lineage={"epochs_per_generation": 2}, training={"dropout": 0.1})
    context, result = done(wanted, tmp_path / "one")
    (tmp_path / "two").mkdir()
    other = sharing(context.store.root, tmp_path / "two")
    killed_after(other, wanted, 1)
    assert run(other, wanted).artifact == result.artifact
    first, second = weights(context, result.artifact), weights(other, result.artifact)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


# Given teachers ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> dict[str, str]:
    """Language -> folder of a teacher of it."""
    context, wanted = opened(tmp_path_factory.mktemp("teachers")), tag_point()
    ready(context, wanted)
    return {language: str(context.store.artifact(name)) for name, language in wanted.first_teachers.items()}


def given(teachers: Any, **changes: Any) -> Identity:
    return tag_point(teachers=teachers, base={"train": None}, **changes)


def test_given_teachers_of_each_language_teach_as_those_that_were_trained(tmp_path, taught):
    context = opened(tmp_path)
    own, same = tag_point(lineage={"num_generations": 1}), given(taught, lineage={"num_generations": 1})
    ready(context, own)
    ready(context, same)
    for each in (own, same):
        run(context, each)
    torch.testing.assert_close(losses(context, own)[0, 2:], losses(context, same)[0, 2:], rtol=0.5, atol=0.1)
    assert [*same.first_teachers.values()] == ["en", "es"]


def test_one_teacher_of_a_language_leaves_the_others_to_others_or_to_their_labels(tmp_path, taught):
    context = opened(tmp_path)
    alone, with_others = given({"en": taught["en"]}), given({"en": taught["en"], "others": taught["es"]})
    ready(context, alone)
    ready(context, with_others)
    features = context.train_set(alone).features
    spanish = features.of_language("es")
    learning = TASKS["tagging"].learning
    named = with_others.first_teachers.values()
    assert learning.taught_by(features, "others", named=named).tolist() == spanish.tolist()
    run(context, alone)
    run(context, with_others)
    assert losses(context, alone)[:, 2].sum() < losses(context, with_others)[:, 2].sum()


def test_several_teachers_of_all_languages_teach_together(tmp_path, taught):
    wanted = given([*taught.values()], lineage={"num_generations": 1})
    context, _ = done(wanted, tmp_path)
    assert len(epochs(context, wanted)[0].teachers) == 2


def test_teachers_with_other_label_sets_are_refused_by_name(tmp_path, taught, another):
    strange = tag_point(base={"train": {"teachers": "one"}}, data={"columns": {"encode": "iob2"}})
    context = opened(tmp_path)
    ready(context, strange)
    (name,) = strange.first_teachers
    folder = str(context.store.artifact(name))
    wanted = given({"en": taught["en"], "es": folder}).config
    with pytest.raises(DataError, match="teachers of one student need the same labels"):
        TASKS["tagging"].data.check_models([wanted], locate=str)
    with pytest.raises(ArtifactError, match="need one label set"):
        ready(opened(tmp_path / "runs"), given([folder]))


def test_a_baseline_may_stand_beside_a_given_teacher_of_a_language_without_labels(taught):
    teachers, section = {"en": taught["en"], "zh": taught["es"]}, {"source": "rest", "languages": ["en", "zh"]}
    for weight in (0, 1):
        wanted = given(teachers, data={"unlabelled": section}, distillation={"kd_weight": weight})
        assert [*wanted.first_teachers.values()] == ["en", "zh"]


def test_generation_0_is_trained_also_where_others_teach(tmp_path):
    context, wanted = opened(tmp_path / "first"), point()
    ready(context, wanted)
    teacher = str(context.store.artifact(wanted.base))
    other = opened(tmp_path / "second")
    taught_by_it = point(teachers=[teacher])
    said = ready(other, taught_by_it)
    assert any(line.startswith("generation 0: epoch 1/1") for line in said)
    assert run(other, taught_by_it).artifact


def test_a_student_model_has_the_head_of_the_file(tmp_path, taught):
    """The built-in teachers have a CRF over the first piece."""
    strange = tag_point(student={"model": taught["en"]}, head={"pooling": "mean"})
    with pytest.raises(DataError, match=r"student.model .*: head.pooling is 'mean' in the sweep file and 'first' in"):
        ready(opened(tmp_path / "strange"), strange)
    context, frozen_student = opened(tmp_path / "frozen"), {"student": {"model": taught["en"]}}
    wanted = tag_point(**frozen_student, head={"freeze_encoder": True}, lineage={"epochs_per_generation": 2})
    ready(context, wanted)
    before = weights(context, wanted.student)
    after = weights(context, run(context, wanted).artifact)
    kept = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert kept == {name for name in before if name not in after or not name.startswith(("emissions", "transitions"))}
