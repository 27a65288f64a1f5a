"""The loss of a step of multi-level distillation against loops over pairs, pieces and words; its teachers."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import parallel_training as parallels
from support.parallel_training import (
    CPU,
    LEVELS,
    STEPS,
    WEIGHTS,
    distillation,
    features,
    new_student,
    teacher_encoder,
    trained,
)
from support.process_group import run_as_ranks
from torch import Tensor, nn

from raykd.config.training import Batching
from raykd.data.batching import MicroBatch, split_step
from raykd.models.multilevel import MultilevelModel
from raykd.tasks import TASKS
from raykd.tasks.parallel.features import PairFeatures
from raykd.tasks.parallel.teachers import LiveTeacher, StoredTeacher
from raykd.tasks.parallel.terms import EpochPairs, loss_terms, student_inputs

STEP = STEPS[0]


# MMKD by its formulas ---------------------------------------------------------------------------------------------


class ByHand:
    """The four terms of a step: one pass for each sentence and objective, no padding, float64."""

    def __init__(self, model: MultilevelModel, pairs: PairFeatures, config) -> None:
        self.model, self.pairs, self.weights = model.double(), pairs, config.multilevel
        self.teacher = teacher_encoder().double().encoder

    def tlm(self, step) -> Tensor:
        """The mean over all masked pieces."""
        head, found = self.model.mlm, []
        for row in step:
            batch = self.pairs.collate(np.array([row]))
            hidden = self._student(batch["tlm_ids"])
            for column, label in zip(batch["tlm_columns"], batch["tlm_labels"], strict=True):
                state = head.norm(F.gelu(head.transform.weight @ hidden[column] + head.transform.bias))
                scores = self.model.get_input_embeddings().weight @ state + head.bias
                found.append(-torch.log(scores[label].exp() / scores.exp().sum()))
        return sum(found) / len(found)

    def word(self, step) -> Tensor:
        """The mean over sentences of the mean over masked words; CLS and SEP are negatives."""
        found = []
        for row in step:
            batch = self.pairs.collate(np.array([row]))
            hidden, english = self._student(batch["context_ids"]), self._english(row)
            read = self.model.width(torch.stack([hidden[place] for place in batch["word_first"][0]]))
            masked = batch["word_masked"][0].nonzero().flatten().tolist()
            losses = []
            for word in masked:
                scores = (
                    torch.stack([self._alike(english[word], other) for other in read]) / self.weights.word_temperature
                )
                losses.append(-torch.log(scores[word].exp() / scores.exp().sum()))
            found.append(sum(losses) / len(losses))
        return sum(found) / len(found)

    def sentence(self, group) -> Tensor:
        """The sum over a group of sentences that batch statistics are taken over."""
        queries, keys = self._compared(self.model.sentence_heads, group)
        return sum(2 - 2 * cosine(query, key) for query, key in zip(queries, keys, strict=True))

    def structure(self, group) -> Tensor:
        """The sum over a group of sentences that are compared with each other."""
        queries, keys = self._compared(self.model.structure_heads, group)
        total = torch.zeros((), dtype=torch.float64)
        for row in range(len(group)):
            target = torch.stack([cosine(keys[row], key) for key in keys]) / self.weights.structure_temperature
            own = torch.stack([cosine(queries[row], query) for query in queries]) / self.weights.structure_temperature
            p, q = target.exp() / target.exp().sum(), own.exp() / own.exp().sum()
            total = total + (p * torch.log(p / q)).sum()
        return total

    def losses(self, step, groups) -> Tensor:
        """[6] total, label, KD, word, sentence, structure."""
        label, word = self.tlm(step), self.word(step)
        sentence, structure = (sum(map(term, groups)) / len(step) for term in (self.sentence, self.structure))
        kd = sum(
            getattr(self.weights, f"{name}_weight") * value
            for name, value in (("word", word), ("sentence", sentence), ("structure", structure))
        )
        total = WEIGHTS["label_weight"] * label + WEIGHTS["kd_weight"] * kd
        return torch.stack([total, label, kd, word, sentence, structure])

    def _student(self, ids: Tensor) -> Tensor:
        """[L, H] of one sequence whose second sentence has segment 1 where the tokenizer says so."""
        return self.model.encoder.encoder(input_ids=ids, token_type_ids=self._types(ids)).last_hidden_state[0]

    def _types(self, ids: Tensor) -> Tensor:
        if not self.pairs.frame.has_types:
            return torch.zeros_like(ids)
        ends = (ids[0] == self.pairs.frame.after).nonzero().flatten()
        return (torch.arange(ids.shape[1]) > ends[0])[None].long()

    def _english(self, row: int) -> Tensor:
        """[1 + W, Ht] of an English sentence and of its words."""
        batch = self.pairs.english.collate(self.pairs.english_of[[row]])
        with torch.no_grad():
            hidden = self.teacher(input_ids=batch["input_ids"]).last_hidden_state[0]
        return torch.stack([hidden.mean(0), *(hidden[place] for place in batch["first"][0])])

    def _alike(self, english: Tensor, word: Tensor) -> Tensor:
        return cosine(english, word) if self.weights.word_similarity == "cosine" else english @ word

    def _compared(self, heads: nn.Module, group) -> tuple[list[Tensor], list[Tensor]]:
        """Queries of the other sentences, keys of the English ones."""
        read = [self._student_alone(self.pairs.collate(np.array([row]))["x_ids"]) for row in group]
        english = [self._english(row)[0] for row in group]
        projected = self._normed(None, self._perceptron(heads.projector, read))
        queries = self._perceptron(heads.predictor, projected)
        keys = self._normed(None, self._perceptron(heads.teacher_projector, english))
        return queries, [key.detach() for key in keys]

    def _student_alone(self, ids: Tensor) -> Tensor:
        hidden = self.model.encoder.encoder(input_ids=ids).last_hidden_state[0]
        return hidden[0] if self.weights.pooling == "cls" else hidden.mean(0)

    def _perceptron(self, layers: nn.Module, rows: list[Tensor]) -> list[Tensor]:
        hidden = self._normed(layers.norm, [layers.hidden.weight @ row for row in rows])
        return [layers.out.weight @ row.clamp(min=0) for row in hidden]

    def _normed(self, norm: nn.Module | None, rows: list[Tensor]) -> list[Tensor]:
        if self.weights.norm == "batch":
            if len(rows) > 1:
                mean = sum(rows) / len(rows)
                variance = sum((row - mean) ** 2 for row in rows) / len(rows)
                rows = [(row - mean) / torch.sqrt(variance + 1e-5) for row in rows]
        else:
            rows = [(row - row.mean()) / torch.sqrt(row.var(correction=0) + 1e-5) for row in rows]
        affine = norm is not None and norm.weight is not None
        return [row * norm.weight + norm.bias for row in rows] if affine else rows


def cosine(first: Tensor, second: Tensor) -> Tensor:
    return (first @ second) / (first.norm() * second.norm())


def assert_as_by_hand(found: tuple[Tensor, dict[str, Tensor]], step, groups, config) -> None:
    model = new_student(config)
    expected = ByHand(model, features().at(3, 1), config).losses(step, groups)
    torch.testing.assert_close(found[0].double(), expected.detach(), rtol=1e-5, atol=1e-6)
    expected[0].backward()
    named = model.named_parameters()
    # What no term reads has a gradient of 0 in the one and none in the other.
    gradients = {name: torch.zeros_like(each) if each.grad is None else each.grad for name, each in named}
    assert_near(found[1], gradients)


def assert_near(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Gradients are the same but for rounding, which batch statistics of few rows magnify."""
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert found.keys() == expected.keys() and largest > 0.01
    for name, gradient in expected.items():
        assert float((found[name] - gradient).abs().max()) < 5e-5 * max(largest, 1), name


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("number", range(len(STEPS)))
def test_the_loss_of_a_step_and_its_gradients_are_those_of_mmkd(norm, number):
    config, step = distillation(norm=norm), STEPS[number]
    assert_as_by_hand(trained(step, config), step, [step], config)


@pytest.mark.parametrize(
    "options",
    [
        {"word_similarity": "cosine", "word_temperature": 0.1},
        {"word_temperature": 3.0, "pooling": "mean"},
        {"structure_temperature": 0.2, "structure_weight": 1.0},
    ],
    ids="-".join,
)
def test_the_loss_of_a_step_has_its_similarities_temperatures_and_pooling(options):
    config = distillation(**options)
    assert_as_by_hand(trained(STEP, config), STEP, [STEP], config)


@pytest.mark.parametrize("examples", [1, 3])
def test_local_relations_are_those_of_each_micro_batch_and_the_other_terms_those_of_the_step(examples):
    config, lengths = distillation(relations="local"), features().lengths
    batching = Batching(tokens_per_step=4096, micro_batch_tokens=4096, micro_batch_examples=examples)
    groups = [micro.indices for micro in split_step(STEP, lengths, batching, rank=0, world_size=1)]
    assert len(groups) == math.ceil(len(STEP) / examples)
    assert_as_by_hand(trained(STEP, config, micro_batch_examples=examples), STEP, groups, config)


# Ranks ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_ranks(tmp_path_factory):
    return run_as_ranks(parallels.trained_on_ranks, 3, tmp_path_factory.mktemp("ranks"))


@pytest.mark.cluster
@pytest.mark.parametrize("number", range(len(STEPS)))
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_ranks_that_share_a_step_train_as_one_does_alone_also_if_some_have_no_pair(three_ranks, norm, number):
    losses, gradients = trained(STEPS[number], distillation(norm=norm))
    for rank in three_ranks:
        found_losses, found = rank[norm, number]
        torch.testing.assert_close(found_losses, losses, rtol=1e-5, atol=1e-6)
        assert_near(found, gradients)


# Scales -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", range(3))
def test_scales_make_sums_the_means_of_their_step(epoch):
    pairs, steps = features().at(5, epoch), [np.array([4, 0, 1]), np.array([6, 3]), np.array([2])]
    found = EpochPairs.of(pairs, steps)
    for step in steps:
        singly = [pairs.collate(np.array([row])) for row in step]
        pieces = sum(len(batch["tlm_labels"]) for batch in singly)
        with_words = sum(bool(batch["word_masked"].any()) for batch in singly)
        for part in (step, step[:1], step[::-1]):
            batch = found.collate(part)
            assert batch["tlm_scale"].tolist() == pytest.approx([len(step) / pieces] * len(part))
            assert batch["word_scale"].tolist() == pytest.approx([len(step) / with_words] * len(part))
            plain = pairs.collate(part)
            assert batch.keys() == plain.keys() | {"tlm_scale", "word_scale"}
            assert all(torch.equal(batch[name], tensor) for name, tensor in plain.items())


def test_padding_is_handed_on():
    pairs = features()
    batch = EpochPairs.of(pairs, [STEP]).collate(STEP[:2], pad_to=60)
    assert {batch[name].shape[1] for name in ("tlm_ids", "context_ids", "x_ids")} == {60}


def test_masks_differ_from_epoch_to_epoch_and_by_nothing_else():
    pairs, rows = features(), np.arange(len(features()))
    first, again, second = (EpochPairs.of(pairs.at(0, epoch), [rows]).collate(rows) for epoch in (0, 0, 1))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert torch.equal(first["x_ids"], second["x_ids"])
    for name in ("tlm_ids", "context_ids", "word_masked"):
        assert not torch.equal(first[name], second[name])


# Teachers ---------------------------------------------------------------------------------------------------------


def stored(pairs: PairFeatures, *, words: bool = True) -> tuple[PairFeatures, Tensor]:
    """The pairs, and what a teacher that reads one English sentence at a time says, unrounded."""
    english, encoder = pairs.english.with_words(words), teacher_encoder()
    rows = []
    for number in range(len(english)):
        batch = english.collate(np.array([number]))
        with torch.no_grad():
            hidden = encoder.encoder(input_ids=batch["input_ids"]).last_hidden_state[0]
        rows += [hidden.mean(0), *(hidden[place] for place in batch["first"][0] if words)]
    return pairs.with_parts(pairs.parts if words else pairs.parts - {"word"}), torch.stack(rows)


def answers(pairs: PairFeatures, vectors: Tensor | None, config, micros, *, step=STEP):
    """Of a live teacher, or with vectors of a stored one."""
    if vectors is None:
        teacher = LiveTeacher(pairs, pairs.english, teacher_encoder(), config, device=CPU)
    else:
        seen = pairs.english.with_words("word" in pairs.parts)
        teacher = StoredTeacher(pairs, seen, vectors, config, device=CPU)
    assert teacher.mean_coefficient() is None
    return teacher.for_step(step, micros)


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "stored"])
def test_a_teacher_says_its_vector_of_every_sentence_and_word(is_live):
    pairs, vectors = stored(features())
    bounds = np.concatenate([[0], np.cumsum(pairs.english.signal_lengths)])
    (taught,) = answers(pairs, None if is_live else vectors, distillation(), [MicroBatch(STEP, False)])
    assert taught.words.shape[1] == pairs.word_counts.max() + 2 == pairs.collate(STEP)["word_first"].shape[1]
    for place, row in enumerate(STEP):
        start = bounds[pairs.english_of[row]]
        torch.testing.assert_close(taught.sentence[place], vectors[start], rtol=1e-4, atol=1e-5)
        words = vectors[start + 1 : start + 1 + pairs.word_counts[row]]
        torch.testing.assert_close(taught.words[place, 1 : 1 + len(words)], words, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "stored"])
def test_without_words_a_teacher_says_sentences_alone(is_live):
    pairs, vectors = stored(features(), words=False)
    (taught,) = answers(pairs, None if is_live else vectors, distillation(), [MicroBatch(STEP, False)])
    assert taught.words is None
    torch.testing.assert_close(taught.sentence, vectors[pairs.english_of[STEP]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "stored"])
def test_a_micro_batch_knows_how_many_of_its_pairs_are_real_and_how_many_the_step_has(is_live):
    pairs, vectors = stored(features())
    micros = [MicroBatch(STEP[:3], False), MicroBatch(STEP[:1], True)]
    first, idle = answers(pairs, None if is_live else vectors, distillation(), micros)
    assert (first.rows, idle.rows) == (3, 0) and first.counts == idle.counts == (7,)
    first, idle = answers(pairs, None if is_live else vectors, distillation(relations="local"), micros)
    assert (first.rows, idle.rows) == (3, 0) and first.counts is idle.counts is None


def test_half_precision_vectors_are_computed_with_in_single_precision():
    pairs, vectors = stored(features())
    (taught,) = answers(pairs, vectors.half(), distillation(), [MicroBatch(STEP, False)])
    assert (taught.sentence.dtype, taught.words.dtype) == (torch.float32, torch.float32)


# Without a teacher, and single levels -----------------------------------------------------------------------------


def test_without_a_teacher_a_student_reads_masked_pieces_alone():
    pairs, config = features(), distillation()
    batch = EpochPairs.of(pairs, [STEP]).collate(STEP)
    inputs = student_inputs(batch, None)
    assert all(name.startswith("tlm_") for name in inputs) and not {"tlm_labels", "tlm_scale"} & inputs.keys()
    label, kd, parts = loss_terms(new_student(config)(**inputs), batch, None, config)
    assert kd is None and not parts
    by_hand = ByHand(new_student(config), pairs, config).tlm(STEP)
    assert label.mean().item() == pytest.approx(by_hand.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("levels", "parts"),
    [({"word"}, {"word"}), ({"sentence", "structure"}, {"sentence"}), ({"structure"}, {"sentence"})],
)
def test_levels_that_are_left_out_cost_nothing_and_leave_the_others_as_they_are(levels, parts):
    config, pairs = distillation(), features().at(3, 1)
    whole, (_, vectors) = new_student(config), stored(pairs)
    (taught,) = answers(pairs, vectors, config, [MicroBatch(STEP, False)])
    batch = EpochPairs.of(pairs, [STEP]).collate(STEP)
    _, _, expected = loss_terms(whole(**student_inputs(batch, taught)), batch, taught, config)
    part = copy.deepcopy(whole)
    part.options = type(part.options)(**{**vars(part.options), "parts": frozenset(levels)})
    part.mlm = None
    part.sentence_heads = part.sentence_heads if "sentence" in levels else None
    part.structure_heads = part.structure_heads if "structure" in levels else None
    batch = EpochPairs.of(pairs.with_parts(frozenset(parts)), [STEP]).collate(STEP)
    label, kd, found = loss_terms(part(**student_inputs(batch, taught)), batch, taught, config)
    assert found.keys() == levels and (label == 0).all()
    for name in levels:
        torch.testing.assert_close(found[name], expected[name])
    torch.testing.assert_close(kd, sum(LEVELS[f"{name}_weight"] * found[name] for name in levels))


def test_the_task_says_of_a_teacher_what_its_outputs_are():
    pairs, vectors = stored(features())
    batch = pairs.english.collate(np.arange(len(pairs.english)))
    task = TASKS["parallel"]
    with torch.no_grad():
        found = task.learning.signals(teacher_encoder()(**task.model.inputs(batch)))["vectors"]
    lengths = pairs.english.signal_lengths
    kept = torch.cat([row[:length] for row, length in zip(found, lengths, strict=True)])
    torch.testing.assert_close(kept, vectors, rtol=1e-4, atol=1e-5)
