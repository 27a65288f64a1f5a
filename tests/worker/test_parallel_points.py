"""The worker loop on parallel text: the English teacher, later generations, resumed points. Real engines, no Ray."""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
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
from support.tiny_sweeps import pair_point
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, DistilBertConfig, DistilBertModel

from raykd.config.identity import Identity
from raykd.config.keys import merged
from raykd.data.batching import order_epoch, split_step
from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.errors import DataError
from raykd.models.encoder import SENTENCE_CONFIG
from raykd.results.journal import Journal
from raykd.tasks import TASKS
from raykd.tasks.parallel.data import load_dev
from raykd.tasks.parallel.retrieval import retrieval_scores, retrieve
from raykd.tasks.parallel.sentences import sentence_id
from raykd.worker.passes import base_scores, signal_store

TOTAL, LABEL, KD, WORD, SENTENCE, STRUCTURE = range(6)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A results folder with generation 0, the teacher, scores and signals."""
    root = tmp_path_factory.mktemp("prepared")
    ready(opened(root), pair_point())
    return root


@pytest.fixture(scope="module")
def teachers(tmp_path_factory) -> dict[str, Path]:
    """Model folders with a WordPiece vocabulary of their own: a BERT of another width than students that drops half of
    all values in training, one of their width, and a DistilBERT, whose configuration calls its width otherwise.
    """
    torch.manual_seed(0)
    shape = {"vocab_size": 1200, "max_position_embeddings": 64, "initializer_range": 0.1}
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    dropout = {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}
    models = {
        "bert": BertModel(BertConfig(hidden_size=40, **shape | sizes | dropout), add_pooling_layer=False),
        "as wide": BertModel(BertConfig(hidden_size=64, **shape | sizes), add_pooling_layer=False),
        "distilbert": DistilBertModel(DistilBertConfig(**shape, dim=24, n_layers=1, n_heads=2, hidden_dim=32)),
    }
    folders = {}
    for name, model in models.items():
        folders[name] = tmp_path_factory.mktemp("teacher")
        build_tokenizer(folders[name], vocab_size=shape["vocab_size"])
        model.save_pretrained(folders[name])
    return folders


def taught_by(folder: Path, **changes: Any) -> Identity:
    """A point whose teacher is a model folder."""
    given = {"teacher": {"model": str(folder)}, "lineage": {"teacher": "fixed"}}
    return pair_point(**merged(given, changes))


def teacher_of(wanted: Identity) -> str:
    (name,) = wanted.first_teachers
    return name


@torch.no_grad()
def by_transformers(folder: Path, texts: Iterable[str], *, pooling: str) -> dict[str, Tensor]:
    """Sentence -> [1 + W, H]: its vector and that of the first piece of each word, as transformers alone has them."""
    tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = {}
    for text in texts:
        encoded = tokenizer(text, return_tensors="pt")
        words = [-1 if word is None else word for word in encoded.word_ids()]
        first = [words.index(word) for word in range(max(words) + 1)]
        hidden = encoder(**encoded).last_hidden_state[0]
        found[text] = torch.cat([hidden[:1] if pooling == "cls" else hidden.mean(0, keepdim=True), hidden[first]])
    return found


def stored_signals(context, wanted: Identity, teacher: str) -> dict[str, Tensor]:
    """English sentence of the point's budget -> what is stored of it."""
    first = teacher in wanted.first_teachers
    seen = TASKS["parallel"].learning.teacher_features(
        context.train_set(wanted), context.tokenizer(teacher), first=first
    )
    arrays, _ = signal_store(context, teacher, wanted).read(seen.ids, seen.signal_lengths)
    texts = {sentence_id(pair.english): pair.english for pair in context.items(wanted.config).all.all()}
    vectors = arrays["vectors"].split(seen.signal_lengths.tolist())
    return dict(zip((texts[name] for name in seen.ids), vectors, strict=True))


@torch.no_grad()
def compared_by_hand(context, wanted: Identity, teacher: Path, *, micro_batches: int = 1) -> dict[str, float]:
    """SentA and StrucA of the first step, all sentences of a micro-batch compared with each other.

    Vectors are those of transformers alone; only the random heads are the student's own. The formulas are the paper's.
    """
    config, train, folder = wanted.config, context.train_set(wanted), context.store.artifact(wanted.base)
    step, *_ = order_epoch(train.features.lengths, config.training, seed=config.seed, epoch=0, chosen=train.epochs[0])
    texts = {pair.id: (pair.english, pair.other) for pair in context.items(config).all.all()}
    texts |= {f"en:{name}": (english, english) for name, (english, _) in texts.items()}
    english, other = zip(*(texts[train.features.ids[index]] for index in step), strict=True)

    def vectors(encoder: Path, sentences: Sequence[str], *, pooling: str) -> Tensor:
        read = by_transformers(encoder, sentences, pooling=pooling)
        return torch.stack([read[text][0] for text in sentences])

    model, multilevel = TASKS["parallel"].model, config.distillation.multilevel
    student = model.to_train(model.load(str(folder)), config, teacher=teacher)
    theirs = vectors(teacher, english, pooling=config.teacher.pooling)
    ours = vectors(folder, other, pooling=multilevel.pooling)
    sentence, structure = [], []
    for rows in np.array_split(np.arange(len(step)), micro_batches):
        query, key = (normalize(each).numpy() for each in student.sentence_heads(ours[rows], theirs[rows]))
        sentence.extend(2 - 2 * (query * key).sum(axis=1))
        query, key = (normalize(each).numpy() for each in student.structure_heads(ours[rows], theirs[rows]))
        q, p = (np.exp(each @ each.T / multilevel.structure_temperature) for each in (query, key))
        q, p = (shares / shares.sum(axis=1, keepdims=True) for shares in (q, p))
        structure.extend((p * np.log(p / q)).sum(axis=1))
    return {"sentence": float(np.mean(sentence)), "structure": float(np.mean(structure))}


# Before generation 1 ----------------------------------------------------------------------------------------------


def test_generation_0_is_the_untrained_student_and_what_is_scored(context):
    wanted = pair_point()
    base, folder = wanted.base, context.store.artifact(wanted.base)
    assert context.store.verify(base).kind == "base" and base != teacher_of(wanted)
    task, tokenizer = TASKS["parallel"], context.tokenizer(base)
    untrained = task.model.tiny(wanted.config, tokenizer, items=None, seed=0).encoder.state_dict()
    assert all(torch.equal(untrained[name], tensor) for name, tensor in weights(context, base).items())
    vectors, texts = {}, {}
    for language, pairs in load_dev(wanted.config.selection, pivot="en", folder=Path()).pairs.items():
        texts[language] = [pair.english for pair in pairs], [pair.other for pair in pairs]
        read = [by_transformers(folder, side, pooling="cls") for side in texts[language]]
        vectors[language] = tuple(torch.stack([rows[0] for rows in side.values()]).numpy() for side in read)
    scores = base_scores(context.store, wanted)
    assert scores.final.cells == retrieval_scores(retrieve(vectors, texts=texts))
    assert scores.epoch.cells["es"]["num_pairs"] == 6


def test_the_english_teacher_is_an_artifact_of_its_own(context):
    wanted = pair_point()
    teacher, base = teacher_of(wanted), wanted.base
    record = context.store.verify(teacher)
    assert (record.kind, record.model) == ("teacher", "builtin:tiny")
    assert json.loads((context.store.artifact(teacher) / SENTENCE_CONFIG).read_text()) == {"pooling": "mean"}
    assert not torch.equal(*(weights(context, name)["embeddings.word_embeddings.weight"] for name in (teacher, base)))


def test_points_share_teacher_scores_and_signals_and_a_second_start_makes_nothing_again(context):
    knobs = [
        {"label_weight": 0.5, "kd_weight": {"start": 0, "end": 1}},
        {"multilevel": {"word_weight": 3, "word_temperature": 0.5, "word_similarity": "cosine"}},
        {"multilevel": {"structure_weight": 0, "sentence_weight": 2}},
        {"multilevel": {"structure_temperature": 0.1, "norm": "layer", "projection_size": 16, "relations": "local"}},
    ]
    points = [pair_point(distillation=each) for each in knobs]
    assert len({wanted.id for wanted in points}) == len(knobs)
    before = shared_files(context.store.root)
    (line,) = ready(context, *points)
    assert line.startswith("generation 0 scores") and shared_files(context.store.root) == before


def test_another_pooling_of_the_teacher_is_another_teacher(context):
    wanted = pair_point(teacher={"pooling": "cls"})
    taken, scores, signals = ready(context, wanted)
    assert taken == "the teacher is ready (builtin:tiny)" and teacher_of(wanted) != teacher_of(pair_point())
    assert scores.startswith("generation 0 scores") and signals.endswith("(12 windows)")


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_signals_are_what_transformers_says_about_the_english_sentences(context, teachers, pooling):
    wanted = taught_by(teachers["bert"], teacher={"pooling": pooling})
    ready(context, wanted)
    stored = stored_signals(context, wanted, teacher_of(wanted))
    assert len(stored) == 12 and {vectors.dtype for vectors in stored.values()} == {torch.float16}
    for text, vectors in by_transformers(teachers["bert"], stored, pooling=pooling).items():
        torch.testing.assert_close(stored[text].float(), vectors, atol=2e-3, rtol=2e-3)


def test_a_point_without_words_stores_sentence_vectors_alone(context):
    wanted = pair_point(distillation={"multilevel": {"word_weight": 0}})
    (_, signals) = ready(context, wanted)
    assert signals == "signals of the first teachers are stored (12 windows)"
    full = stored_signals(context, pair_point(), teacher_of(wanted))
    for text, vectors in stored_signals(context, wanted, teacher_of(wanted)).items():
        assert vectors.shape == (1, 64) and len(full[text]) > 1
        assert torch.equal(vectors[0], full[text][0])


def test_a_teacher_whose_folder_changes_is_refused(context, teachers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "model"
    shutil.copytree(teachers["bert"], folder)
    wanted = taught_by(folder)
    ready(context, wanted)
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    with pytest.raises(DataError, match=r"given teacher .*: config.json changed since this sweep began"):
        ready(context, wanted)


# Generations ------------------------------------------------------------------------------------------------------


def test_a_point_ends_with_an_encoder_that_transformers_reads_and_no_head(context):
    result = run(context, pair_point())
    check_rebuilt(Journal(context.store).points.outcomes(pair_point().id), result.scores)
    (base,) = Journal(context.store).sweep.base_scores()
    check_rebuilt(base.outcomes, base.final)
    folder = context.store.artifact(result.artifact)
    assert context.store.verify(result.artifact).generation == 2
    read, info = AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert [path.name for path in folder.glob("*.safetensors")] == ["model.safetensors"]
    with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(read.state_dict())
    base = weights(context, pair_point().base)
    trained = weights(context, result.artifact)
    assert not any(torch.equal(base[name], trained[name]) for name in base if name.endswith("query.weight"))


def test_retrieval_rises_over_generation_0_of_every_trained_language(context):
    size = {"train": {"num_items": 256}, "budget": 256}
    wanted = pair_point(
        data=size,
        selection={"source": {"num_items": 100}, "epoch_max_items": 50},
        training={"learning_rate": 3e-3, "tokens_per_step": 2048, "micro_batch_tokens": 2048, "warmup": 0.1},
        lineage={"num_generations": 1, "epochs_per_generation": 6},
        distillation={"multilevel": {"pooling": "mean", "structure_temperature": 0.1}},
    )
    ready(context, wanted)
    before = base_scores(context.store, wanted).final
    after = run(context, wanted).scores
    assert after.main_value > before.main_value + 15
    for language in ("es", "zh"):
        assert after.cells[language]["retrieval"] > before.cells[language]["retrieval"] + 10
    assert after.cells["es"]["retrieval"] > 90


def test_an_epoch_says_what_its_losses_are_made_of_and_watches_for_collapse(context):
    wanted = pair_point(distillation={"multilevel": {"word_weight": 0.5, "sentence_weight": 2, "structure_weight": 7}})
    run(context, wanted)
    for epoch in epochs(context, wanted):
        assert set(epoch.parts) == {"word", "sentence", "structure"}
        assert set(epoch.watched) == {"mean_cosine", "std", "effective_rank"}
        assert epoch.kd_loss == pytest.approx(
            0.5 * epoch.parts["word"] + 2 * epoch.parts["sentence"] + 7 * epoch.parts["structure"], rel=1e-5
        )
        assert epoch.loss == pytest.approx(epoch.label_loss + epoch.kd_loss, rel=1e-5)
        assert 0 < epoch.watched["std"] < 1 < epoch.watched["effective_rank"] and 0 <= epoch.dev_score <= 100
    assert (losses(context, wanted)[:, [WORD, SENTENCE, STRUCTURE]] > 0).all()


def test_generation_2_is_taught_by_what_the_student_of_generation_1_makes_of_english(context, teachers):
    # The first teacher reads other pieces than students do.
    wanted = taught_by(teachers["as wide"], lineage={"teacher": "snapshot"})
    ready(context, wanted)
    running = reports(context, wanted)
    assert [next(running).generation for _ in range(2)] == [1, 2]
    running.close()
    first, second = epochs(context, wanted)
    (student,) = second.teachers
    assert first.teachers == (teacher_of(wanted),)
    record = context.store.verify(student)
    assert (record.kind, record.generation) == ("generation", 1)
    stored = stored_signals(context, wanted, student)
    assert len(stored) == 12
    for text, vectors in by_transformers(context.store.artifact(student), stored, pooling="cls").items():
        torch.testing.assert_close(stored[text].float(), vectors, atol=2e-3, rtol=2e-3)


def test_a_fixed_teacher_teaches_all_generations(context):
    wanted = pair_point(lineage={"teacher": "fixed"})
    run(context, wanted)
    assert [epoch.teachers for epoch in epochs(context, wanted)] == [(teacher_of(wanted),)] * 2


def test_a_gate_that_nobody_passes_delivers_generation_0_and_not_the_teacher(context):
    wanted = pair_point(lineage={"min_delta": 100})
    result = run(context, wanted)
    assert result.artifact == wanted.base and len(result.generations) == 1
    assert result.scores == base_scores(context.store, wanted).final


def test_a_killed_point_goes_on_and_ends_with_the_same_bits(context, prepared, tmp_path_factory):
    wanted = pair_point(
        lineage={"epochs_per_generation": 2},
        training={"dropout": 0.1, "weight_decay": 0.01, "warmup": 0.2},
        distillation={"kd_weight": {"start": 0.5, "end": 1}, "multilevel": {"relations": "local"}},
        data={"mixing": {"kind": "sampled"}},
    )
    ready(context, wanted)
    others = [sharing(context.store.root, tmp_path_factory.mktemp("killed")) for _ in range(3)]
    undisturbed = run(context, wanted)
    for num_epochs, other in enumerate(others, 1):
        killed_after(other, wanted, num_epochs)
        assert [report.epoch for report in reports(other, wanted)] == list(range(num_epochs + 1, 5))
        again = Journal(other.store).points.result(wanted.id)
        assert again.scores == undisturbed.scores
        expected, found = weights(context, undisturbed.artifact), weights(other, again.artifact)
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        assert torch.equal(losses(context, wanted), losses(other, wanted))


def test_masks_are_others_in_each_epoch_and_the_same_in_a_process_that_takes_over(context):
    wanted, learning = pair_point(lineage={"epochs_per_generation": 2}), TASKS["parallel"].learning

    def read(where, epoch: int) -> dict[str, Tensor]:
        train = where.train_set(wanted)
        rows = learning.chosen(train, epoch)
        steps = order_epoch(
            train.features.lengths, wanted.config.training, seed=wanted.config.seed, epoch=epoch, chosen=rows
        )
        return learning.of_epoch(train, steps, seed=wanted.config.seed, epoch=epoch).collate(np.sort(rows))

    whole = [read(context, epoch) for epoch in range(4)]
    for number, batch in enumerate(whole):
        again = read(opened(context.store.root), number)
        assert all(torch.equal(batch[name], again[name]) for name in batch) and batch.keys() == again.keys()
        for other in whole[:number]:
            assert torch.equal(batch["x_ids"], other["x_ids"])
            assert not torch.equal(batch["tlm_ids"], other["tlm_ids"])
            assert not torch.equal(batch["context_ids"], other["context_ids"])
            assert not torch.equal(batch["word_masked"], other["word_masked"])


# Teachers of their own kind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_stored_and_live_teachers_of_another_width_teach_the_same_without_dropout(context, teachers, name):
    # The BERT would drop half of its values if it were ever in training; a live one answers while the student is.
    found = []
    for signals in ("stored", "live"):
        wanted = taught_by(teachers[name], distillation={"signals": signals}, training={"dropout": 0.0})
        ready(context, wanted)
        run(context, wanted)
        found.append(losses(context, wanted))
        assert [epoch.teachers for epoch in epochs(context, wanted)] == [(teacher_of(wanted),)] * 2
    assert (found[0][:, [WORD, SENTENCE, STRUCTURE]] > 0).all()
    torch.testing.assert_close(*found, rtol=2e-3, atol=2e-4)


def test_a_live_student_teaches_as_its_stored_signals_do(context):
    # Dropout of a student that is the teacher must be off, that of the one in training on.
    found = []
    for signals in ("stored", "live"):
        wanted = pair_point(distillation={"signals": signals}, training={"dropout": 0.3})
        run(context, wanted)
        found.append(losses(context, wanted))
    torch.testing.assert_close(*found, rtol=5e-3, atol=1e-3)


def test_a_teacher_of_another_width_is_refused_where_students_teach(context, teachers):
    wanted = taught_by(teachers["bert"], lineage={"teacher": "snapshot"})
    ready(context, wanted)
    with pytest.raises(DataError) as caught:
        run(context, wanted)
    assert caught.value.problems == (
        f"lineage.teacher snapshot: vectors of {teachers['bert']} have 40 numbers, those of students 64; "
        "use lineage.teacher fixed, or a teacher with vectors of their size",
    )


@pytest.mark.parametrize("lineage", [{"num_generations": 1, "teacher": "snapshot"}, {"teacher": "fixed"}])
def test_a_teacher_of_another_width_is_none_of_the_business_of_later_generations_that_it_teaches(
    context, teachers, lineage
):
    wanted = taught_by(
        teachers["bert"],
        lineage=lineage,
        training={"dropout": 0.0},
        distillation={"multilevel": {"structure_temperature": 0.1}},
    )
    ready(context, wanted)
    run(context, wanted)
    num_generations = wanted.config.lineage.num_generations
    assert [epoch.teachers for epoch in epochs(context, wanted)] == [(teacher_of(wanted),)] * num_generations
    expected, first = compared_by_hand(context, wanted, teachers["bert"]), losses(context, wanted)[0]
    assert first[SENTENCE].item() == pytest.approx(expected["sentence"], rel=1e-3)
    assert first[STRUCTURE].item() == pytest.approx(expected["structure"], rel=1e-3)


# Weights of the terms ---------------------------------------------------------------------------------------------


def test_without_labels_there_is_no_tlm(context):
    wanted = pair_point(distillation={"label_weight": 0})
    run(context, wanted)
    found = losses(context, wanted)
    assert (found[:, LABEL] == 0).all() and (found[:, [WORD, SENTENCE, STRUCTURE]] > 0).all()
    assert torch.equal(found[:, TOTAL], found[:, KD])


def test_without_a_kd_term_there_is_no_teacher(prepared, tmp_path):
    wanted = pair_point(distillation={"kd_weight": 0})
    context = opened(tmp_path)
    lines = ready(context, wanted)
    assert len(lines) == 2 and not any("teacher" in line for line in lines)
    found = losses(context, wanted) if run(context, wanted) else None
    assert (found[:, KD:] == 0).all() and (found[:, LABEL] > 0).all()
    assert not (tmp_path / "signals").exists()
    assert not context.store.has(teacher_of(pair_point()))


def test_a_kd_weight_that_begins_at_0_takes_its_first_step_without_a_teacher(context):
    wanted = pair_point(distillation={"kd_weight": {"start": 0, "end": 1}})
    run(context, wanted)
    found = losses(context, wanted)
    assert (found[0, KD:] == 0).all() and found[0, TOTAL] == found[0, LABEL] > 0
    assert (found[1:, KD:] > 0).all()
    weight = torch.linspace(0, 1, len(found))
    torch.testing.assert_close(found[:, TOTAL], found[:, LABEL] + weight * found[:, KD])


@pytest.mark.parametrize("kd_weight", [{"start": 0, "end": 1}, {"start": 1, "end": 0}])
def test_a_step_that_would_have_nothing_to_learn_from_is_refused(kd_weight):
    with pytest.raises(ValidationError, match="with label_weight 0 there is no loss where kd_weight is 0"):
        pair_point(distillation={"label_weight": 0, "kd_weight": kd_weight})
    for allowed in (
        {"label_weight": 0, "kd_weight": {"start": 0.1, "end": 1}},
        {"label_weight": 0.1, "kd_weight": kd_weight},
        {"kd_share": {"start": 0, "end": 1}},
    ):
        assert pair_point(distillation=allowed).config.levels == {"word", "sentence", "structure"}


@pytest.mark.parametrize("name", ["word", "sentence", "structure"])
def test_a_level_alone_trains(context, name):
    others = {f"{level}_weight": 0 for level in ("word", "sentence", "structure") if level != name}
    wanted = pair_point(distillation={"label_weight": 0, "multilevel": others})
    ready(context, wanted)
    run(context, wanted)
    found, column = losses(context, wanted), {"word": WORD, "sentence": SENTENCE, "structure": STRUCTURE}[name]
    assert [place for place in range(WORD, STRUCTURE + 1) if found[:, place].any()] == [column]


# Engines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_every_zero_stage_trains_the_same(context, norm):
    found = {}
    for stage in (0, 1, 2, 3):
        wanted = pair_point(compute={"zero_stage": stage}, distillation={"multilevel": {"norm": norm}})
        result = run(context, wanted)
        found[stage] = losses(context, wanted), weights(context, result.artifact)
    for stage in (1, 2, 3):
        torch.testing.assert_close(found[stage][0], found[0][0], atol=1e-3, rtol=1e-3)
        assert found[stage][1].keys() == found[0][1].keys()
        for name, tensor in found[stage][1].items():
            torch.testing.assert_close(tensor, found[0][1][name], atol=2e-3, rtol=0, msg=name)


def test_micro_batches_with_local_relations_change_the_structure_alone(context):
    local = {"relations": "local", "norm": "layer"}
    found = []
    for tokens in (512, 128):
        wanted = pair_point(distillation={"multilevel": local}, training={"micro_batch_tokens": tokens})
        run(context, wanted)
        found.append(losses(context, wanted))
    whole, parts = (each[0] for each in found)
    for column in (LABEL, WORD, SENTENCE):
        assert parts[column].item() == pytest.approx(whole[column].item(), rel=1e-5)
    # A sentence that is compared with fewer others says less about itself.
    assert parts[STRUCTURE] != pytest.approx(whole[STRUCTURE].item(), rel=0.1)


def test_micro_batches_without_relations_change_nothing_but_rounding(context):
    alone = {"structure_weight": 0, "relations": "local", "norm": "layer"}
    found = []
    for tokens in (512, 128):
        wanted = pair_point(distillation={"multilevel": alone}, training={"micro_batch_tokens": tokens})
        run(context, wanted)
        found.append(losses(context, wanted))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


EXAMPLES = {"tokens_per_step": None, "examples_per_step": 20}


def test_steps_of_so_many_pairs_are_taken_at_once(context):
    training = {**EXAMPLES, "micro_batch_tokens": 20 * 64, "dropout": 0.0}
    wanted = pair_point(training=training, distillation={"multilevel": {"structure_temperature": 0.1}})
    run(context, wanted)
    found, teacher = losses(context, wanted), context.store.artifact(teacher_of(wanted))
    # 12 pairs of two languages each and 12 English sentences with themselves: steps of 20 and 16, in two generations.
    assert len(found) == 4
    whole, halves = (compared_by_hand(context, wanted, teacher, micro_batches=number) for number in (1, 2))
    assert found[0, SENTENCE].item() == pytest.approx(whole["sentence"], rel=1e-3)
    assert found[0, STRUCTURE].item() == pytest.approx(whole["structure"], rel=1e-3)
    assert halves["structure"] != pytest.approx(whole["structure"], rel=0.1)


@pytest.mark.parametrize(
    ("num_workers", "tokens"),
    [(1, 20 * 64), (2, 20 * 64), (3, 10 * 64), (8, 3 * 64), (20, 2 * 64), (21, 64), (40, 40)],
)
def test_pairs_of_a_step_that_a_worker_cannot_take_at_once_are_refused(num_workers, tokens):
    def point(tokens: int, **multilevel: str) -> Identity:
        training = {**EXAMPLES, "micro_batch_tokens": tokens}
        workers = {"num_workers": num_workers, "zero_stage": 1}
        return pair_point(training=training, compute=workers, distillation={"multilevel": multilevel})

    lengths = np.full(20, 64)
    training = point(tokens).config.training
    for number in range(1, 21):
        step = np.arange(number)
        shares = [split_step(step, lengths, training, rank=rank, world_size=num_workers) for rank in range(num_workers)]
        sizes = [0 if micro.idle else len(micro.indices) for (micro,) in shares]
        assert sizes == [len(share) for share in np.array_split(step, num_workers)]
    if num_workers < 21:
        needed = rf"micro_batch_tokens at least {tokens} \(it is {tokens - 1}\), no micro_batch_examples"
        with pytest.raises(ValidationError, match=needed):
            point(tokens - 1)
        assert point(tokens - 1, relations="local")


def test_bf16_trains_and_hands_over(tmp_path):
    wanted, context = pair_point(compute={"precision": "bf16"}), opened(tmp_path)
    ready(context, wanted)
    result = run(context, wanted)
    assert {tensor.dtype for tensor in weights(context, result.artifact).values()} == {torch.float32}
    assert losses(context, wanted).isfinite().all()
