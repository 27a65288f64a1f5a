"""Multi-level distillation on parallel text: an English teacher, a multilingual student, sentence pairs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.tasks.outcomes import Scored
from raykd.tasks.parallel.config import ParallelDistillation, ParallelScored
from raykd.tasks.parallel.scoring import Prediction, SentenceDevSet, score_sentences
from raykd.tasks.parallel.sentences import EnglishFeatures
from raykd.tasks.parallel.sets import PairTrainSet
from raykd.tasks.parallel.teachers import LiveTeacher, StoredTeacher
from raykd.tasks.parallel.terms import PARTS, EpochPairs, Taught, loss_terms, student_inputs
from raykd.tasks.plain import PlainLearning
from raykd.tasks.teaching import Teacher, Teaching


class ParallelLearning(PlainLearning):
    """See `raykd.tasks.task.TaskLearning`. Generation 0 is the untrained student."""

    outputs = ("vectors",)
    parts = PARTS
    cuts_for_both = True
    stored_dtype = torch.float16

    def chosen(self, train: PairTrainSet, epoch: int) -> np.ndarray:
        return train.epochs[epoch]

    def of_epoch(self, train: PairTrainSet, steps: Sequence[np.ndarray], *, seed: int, epoch: int) -> EpochPairs:
        """The pairs with the masks of an epoch."""
        return EpochPairs.of(train.features.at(seed, epoch), steps)

    def teacher_features(self, train: PairTrainSet, tokenizer: Any, *, first: bool) -> EnglishFeatures:
        """The English sentences, as the teacher of generation 1 or a later one reads them."""
        return train.features.english if first else train.by_student

    def probe(self, train: PairTrainSet) -> EnglishFeatures:
        """English sentences as the student reads them."""
        return train.by_student

    def forward(self, model: Any, batch: dict[str, Tensor], said: Taught | None) -> Any:
        return model(**student_inputs(batch, said))

    def terms(
        self,
        outputs: Any,
        batch: dict[str, Tensor],
        said: Taught | None,
        config: ParallelDistillation,
        *,
        padding: bool,
    ) -> tuple[Tensor, Tensor | None, Mapping[str, Tensor]]:
        """Label term (TLM), KD term and its parts."""
        return loss_terms(outputs, batch, said, config)

    def teacher(self, train: PairTrainSet, teaching: Teaching) -> Teacher:
        """There is one."""
        config, device = teaching.distillation, teaching.device
        if teaching.live:
            (forward,) = teaching.live
            return LiveTeacher(train.features, teaching.features, forward, config, device=device)
        vectors = teaching.readings[0].arrays["vectors"]
        return StoredTeacher(train.features, teaching.features, vectors, config, device=device)

    def signals(self, outputs: Any) -> dict[str, Tensor]:
        """[B, 1 + W, H], each sentence's vector and those of its words."""
        sentence = outputs.sentence.float()[:, None]
        return {"vectors": sentence if outputs.words is None else torch.cat([sentence, outputs.words.float()], dim=1)}

    def predict(
        self, outputs: Any, batch: dict[str, Tensor], indices: np.ndarray, section: ParallelScored
    ) -> list[Prediction]:
        """The vector of every sentence of a batch."""
        return list(zip(indices.tolist(), outputs.sentence.float().cpu().numpy(), strict=True))

    def score(self, predictions: Iterable[Prediction], scored: SentenceDevSet, section: ParallelScored) -> Scored:
        """Retrieval, zero-shot classification, what tells a collapse, and what was hit."""
        return score_sentences(predictions, scored)
