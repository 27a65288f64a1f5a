"""Multi-level distillation on parallel text as a task: an English teacher, a multilingual student, sentence pairs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.config.base import never_positive
from raykd.config.point import DistillationConfig, EvaluationConfig, PointConfig
from raykd.data import smallworld
from raykd.data.examples import SentencePair
from raykd.models.encoder import SentenceEncoder, load_sentence_encoder, tiny_sentence_encoder, vector_size
from raykd.models.multilevel import MultilevelModel, MultilevelOptions
from raykd.models.qa import load_tokenizer
from raykd.tasks.outcomes import Scored
from raykd.tasks.parallel.checks import check_sizes
from raykd.tasks.parallel.data import (
    PairItems,
    draw_epochs,
    hash_pairs,
    load_dev,
    load_items,
    load_train,
    load_zero_shot,
    rows_of,
)
from raykd.tasks.parallel.features import PairFeatures
from raykd.tasks.parallel.learning import (
    PARTS,
    EpochPairs,
    LiveTeacher,
    StoredTeacher,
    loss_terms,
    model_inputs,
    student_inputs,
)
from raykd.tasks.parallel.scoring import Prediction, SentenceDevSet, score_sentences, sentence_dev_set
from raykd.tasks.parallel.sentences import EnglishFeatures, english_features, sentence_id
from raykd.tasks.parallel.windows import build_pair_features
from raykd.tasks.plain import PlainTask
from raykd.tasks.reading import Reading

_TEACHER_SEED = 1
"""Of the tiny teacher; the tiny student has 0."""


@dataclass(frozen=True)
class PairTrainSet:
    """What a point trains on.

    Attributes:
        features: every pair that some epoch has.
        epochs: the indices of each epoch's pairs.
        by_student: the English sentences as a student reads them that has become the teacher.
    """

    features: PairFeatures
    epochs: tuple[np.ndarray, ...]
    by_student: EnglishFeatures
    sha256: str
    description: dict[str, Any]


class ParallelTask(PlainTask):
    """The task `parallel`. Generation 0 is the untrained student; its teacher is a model of its own."""

    outputs = ("vectors",)
    parts = PARTS
    stored_dtype = torch.float16
    build_tiny_tokenizer = staticmethod(smallworld.build_tokenizer)
    model_inputs = staticmethod(model_inputs)

    def load_model(self, folder: str, *, dropout: float | None = None) -> SentenceEncoder:
        """An encoder of ours."""
        return load_sentence_encoder(folder, dropout=dropout)

    def tiny_model(self, config: PointConfig, tokenizer: Any, *, items: Any, seed: int) -> SentenceEncoder:
        """The model `builtin:tiny`."""
        return tiny_sentence_encoder(tokenizer, seed=seed, pooling=config.distillation.multilevel.pooling)

    def given_model(self, config: PointConfig, name: str, *, items: Any) -> SentenceEncoder:
        """The encoder of the model that `base` names."""
        return load_sentence_encoder(name, pooling=config.distillation.multilevel.pooling)

    def tiny_teacher(self, config: PointConfig, tokenizer: Any) -> SentenceEncoder:
        """The teacher `builtin:tiny`: other random weights than those of the student."""
        return tiny_sentence_encoder(tokenizer, seed=_TEACHER_SEED, pooling=config.teacher.pooling)

    def given_teacher(self, config: PointConfig, name: str) -> SentenceEncoder:
        """The encoder of the model that `teacher` names."""
        return load_sentence_encoder(name, pooling=config.teacher.pooling)

    def to_train(self, model: SentenceEncoder, config: PointConfig, *, teacher: Path) -> MultilevelModel:
        """The student with the heads that its training needs; the seed of the point draws them.

        Raises:
            DataError: if later teachers, which are students, have another width than the first one.
        """
        multilevel, width = config.distillation.multilevel, vector_size(str(teacher))
        check_sizes(config, teacher=width, student=model.width)
        parts = config.levels if never_positive(config.distillation.weights[0]) else config.levels | {"tlm"}
        gather = multilevel.relations == "gathered"
        options = MultilevelOptions(width, parts, multilevel.norm, multilevel.projection_size, gather)
        return MultilevelModel(model, options, seed=config.seed)

    def same_labels(self, teacher: Path, base: Path) -> None:
        """Nothing to compare: there is no label set."""

    def window_options(self, config: PointConfig) -> dict[str, int]:
        """How sentences are cut; part of what identifies scores."""
        return {"max_length": config.data.max_length}

    def signal_options(self, config: PointConfig) -> dict[str, Any]:
        """What else identifies signals: whether they hold words."""
        return {**self.window_options(config), "words": "word" in config.levels}

    def items(self, config: PointConfig, *, folder: Path) -> tuple[PairItems, str]:
        """All pairs that budgets are drawn from, and their hash."""
        items = load_items(config.data, folder=folder)
        return items, hash_pairs(items.all())

    def train_set(
        self, config: PointConfig, tokenizer: Any, *, items: PairItems, folder: Path, artifact: Path, teacher: Path
    ) -> PairTrainSet:
        """The pairs of a point's budget, as they come in every epoch, cut as the first teacher reads them too."""
        chosen, budgets = load_train(config.data, seed=config.data_seed, items=items)
        num_epochs = config.lineage.num_generations * config.lineage.epochs_per_generation
        pairs, epochs = draw_epochs(chosen, config.data.mixing, seed=config.seed, num_epochs=num_epochs)
        reads = load_tokenizer(str(teacher))
        features = build_pair_features(pairs, tokenizer, reads, max_length=config.data.max_length)
        stored = features.english.with_words("word" in config.levels)
        description = {
            "budgets": {language: budget.to_json() for language, budget in budgets.items()},
            "sources": dict(items.counts),
            "pairs": features.counts.to_json(),
        }
        return PairTrainSet(
            _reading(features, stored, config),
            tuple(rows_of(ids, features.ids) for ids in epochs),
            _by_student(pairs, stored, tokenizer, max_length=config.data.max_length),
            hash_pairs(pairs),
            description,
        )

    def dev_set(self, config: PointConfig, tokenizer: Any, *, folder: Path, artifact: Path) -> SentenceDevSet:
        """The sentences that a point is scored on."""
        evaluation, pivot = config.evaluation, config.data.pivot
        probes = {
            name: load_zero_shot(probe, pivot=pivot, seed=evaluation.seed, folder=folder)
            for name, probe in evaluation.zero_shot.items()
        }
        items = load_dev(evaluation, pivot=pivot, folder=folder)
        options = {"max_length": config.data.max_length, "pivot": pivot, "trained": config.data.languages}
        return sentence_dev_set(items, probes, tokenizer, **options)

    def chosen(self, train: PairTrainSet, epoch: int) -> np.ndarray:
        """The pairs of an epoch."""
        return train.epochs[epoch]

    def of_epoch(self, train: PairTrainSet, steps: Sequence[np.ndarray], *, seed: int, epoch: int) -> EpochPairs:
        """The pairs with the masks of an epoch."""
        return EpochPairs.of(train.features.at(seed, epoch), steps)

    def seen(self, train: PairTrainSet, *, first: bool) -> EnglishFeatures:
        """The English sentences, as the teacher of generation 1 or a later one reads them."""
        return train.features.english if first else train.by_student

    def probe(self, train: PairTrainSet) -> EnglishFeatures:
        """English sentences as the student reads them."""
        return train.by_student

    def taught_by(self, train: PairTrainSet, language: str | None) -> np.ndarray:
        """Indices of the English sentences: a teacher reads all."""
        return np.arange(len(train.features.english))

    def answer(self, model: Any, batch: dict[str, Tensor], teacher: Any) -> Any:
        """The student's outputs over a batch of pairs."""
        return model(**student_inputs(batch, teacher))

    def terms(
        self, outputs: Any, batch: dict[str, Tensor], teacher: Any, config: DistillationConfig, *, padding: bool
    ) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """Label term (TLM), KD term and its parts, [B] each."""
        return loss_terms(outputs, batch, teacher, config)

    def stored_teacher(
        self,
        train: PairTrainSet,
        readings: Sequence[Reading],
        config: DistillationConfig,
        *,
        device: torch.device,
        pad_to: int | None,
        first: bool,
    ) -> StoredTeacher:
        """A teacher that reads its signals."""
        seen = self.seen(train, first=first)
        return StoredTeacher(train.features, seen, readings[0].arrays["vectors"], config, device=device)

    def live_teacher(
        self,
        train: PairTrainSet,
        forward: Callable[..., Any],
        config: DistillationConfig,
        *,
        device: torch.device,
        pad_to: int | None,
        first: bool,
    ) -> LiveTeacher:
        """A teacher that reads every batch again."""
        return LiveTeacher(train.features, self.seen(train, first=first), forward, config, device=device)

    def mean_outputs(self, outputs: Sequence[Any]) -> Any:
        """Those of the one teacher."""
        (only,) = outputs
        return only

    def signals(self, outputs: Any) -> dict[str, Tensor]:
        """What is stored of a teacher's outputs: [B, 1 + W, H], each sentence's vector and those of its words."""
        sentence = outputs.sentence.float()[:, None]
        return {"vectors": sentence if outputs.words is None else torch.cat([sentence, outputs.words.float()], dim=1)}

    def constants(self, outputs: Any) -> dict[str, Tensor]:
        """What is stored once a teacher: nothing."""
        return {}

    def of_teachers(self, scored: Mapping[str | None, Scored]) -> Scored:
        """The scores of generation 0, which is the untrained student."""
        return scored[None]

    def predict(
        self, outputs: Any, batch: dict[str, Tensor], indices: np.ndarray, evaluation: EvaluationConfig
    ) -> list[Prediction]:
        """The vector of every sentence of a batch."""
        return list(zip(indices.tolist(), outputs.sentence.float().cpu().numpy(), strict=True))

    def score(self, predictions: Iterable[Prediction], dev: SentenceDevSet, evaluation: EvaluationConfig) -> Scored:
        """Retrieval, zero-shot classification, what tells a collapse, and what was hit."""
        return score_sentences(predictions, dev)


def _reading(features: PairFeatures, english: EnglishFeatures, config: PointConfig) -> PairFeatures:
    """Features that collate what the weights of a point can ask for."""
    parts = {"word"} & config.levels | ({"sentence"} if {"sentence", "structure"} & config.levels else set())
    if not never_positive(config.distillation.weights[0]):
        parts.add("tlm")
    return replace(features.with_parts(frozenset(parts)), english=english)


def _by_student(
    pairs: Sequence[SentencePair], english: EnglishFeatures, tokenizer: Any, *, max_length: int
) -> EnglishFeatures:
    """The sentences of `english`, in their order, as a student reads them."""
    texts = {sentence_id(pair.english): pair.english for pair in pairs}
    found = english_features([texts[name] for name in english.ids], tokenizer, max_length=max_length)
    return found.with_words(english.store_words)
