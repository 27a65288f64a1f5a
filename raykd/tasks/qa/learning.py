"""Extractive QA: what a batch costs, who teaches it, and how predictions are scored."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.errors import DataError
from raykd.tasks.outcomes import Scored, Scores
from raykd.tasks.plain import PlainLearning
from raykd.tasks.qa.answers import Prediction, score_predictions, spans_of
from raykd.tasks.qa.config import QaDistillation, QaScored
from raykd.tasks.qa.features import QAFeatures
from raykd.tasks.qa.mapping import mapped
from raykd.tasks.qa.no_answer import THRESHOLD
from raykd.tasks.qa.sets import DevSet, TrainSet
from raykd.tasks.qa.teachers import LiveTeacher, StoredTeacher, align_signals
from raykd.tasks.qa.terms import OUTPUTS, TeacherSignals, kd_term, label_term
from raykd.tasks.teaching import Reading, Teacher, Teaching, average

log = logging.getLogger(__name__)


class QaLearning(PlainLearning):
    """See `raykd.tasks.task.TaskLearning`."""

    outputs = OUTPUTS
    stored_dtype = torch.float32

    def num_labelled(self, train: TrainSet) -> int:
        return train.num_labelled

    def teacher_features(self, train: TrainSet, tokenizer: Any, *, first: bool) -> QAFeatures:
        return train.read_with(tokenizer)

    def terms(
        self,
        outputs: Any,
        batch: dict[str, Tensor],
        said: TeacherSignals | None,
        config: QaDistillation,
        *,
        padding: bool,
    ) -> tuple[Tensor, Tensor | None]:
        kd = kd_term(outputs, batch, said, config, padding=padding) if said is not None else None
        return label_term(outputs, batch, padding=padding), kd

    def teacher(self, train: TrainSet, teaching: Teaching) -> Teacher:
        """One teacher, or several whose logits are averaged."""
        config, device, pad_to = teaching.distillation, teaching.device, teaching.pad_to
        if teaching.live:
            seen = None if teaching.features is train.features else teaching.features
            forward = _mean_of(teaching.live)
            return LiveTeacher(forward, train.features, seen, config, device=device, pad_to=pad_to)
        noted: dict[str, float] = {}
        is_foreign = any(_is_foreign(reading, train) for reading in teaching.readings)
        if is_foreign and config.direction != "forward_kl":
            # Pieces that no mass moves to have probability 0, and cost a student that gives them any without bound.
            raise DataError(
                f"distillation.direction {config.direction}: the student has another tokenizer than its teacher, which "
                "says nothing of some of its pieces; set it to forward_kl"
            )
        if is_foreign and not config.context_only:
            raise DataError(
                "distillation.context_only: false compares questions too, which a student with another tokenizer than "
                "its teacher cuts elsewhere; set it to true"
            )
        signals = average([_as_student_reads(reading, train, noted) for reading in teaching.readings])
        return StoredTeacher(
            train.features,
            signals,
            config,
            device=device,
            pad_to=pad_to,
            num_labelled=train.num_labelled,
            pseudo_from=teaching.pseudo_from,
            languages=train.unlabelled_languages,
            noted=noted,
        )

    def signals(self, outputs: Any) -> dict[str, Tensor]:
        """[B, L] each, a logit for every token of a window."""
        return {"start": outputs.start_logits.float(), "end": outputs.end_logits.float()}

    def predict(
        self, outputs: Any, batch: dict[str, Tensor], indices: np.ndarray, section: QaScored
    ) -> list[Prediction]:
        """The best span of every window of a batch, and the next ones where an oracle asks for them."""
        return spans_of(
            outputs,
            batch,
            indices,
            max_answer_tokens=section.max_answer_tokens,
            unanswerable=section.unanswerable,
            more=section.oracle_k,
        )

    def score(self, predictions: Iterable[Prediction], scored: DevSet, section: QaScored) -> Scored:
        """Means over the cells of the G-XLT matrix, and every cell."""
        return score_predictions(predictions, scored, section)

    def settled(self, section: QaScored, chosen: Scores) -> QaScored:
        """With the threshold of the selection set, unless the section has its own."""
        threshold = chosen.chosen.get(THRESHOLD)
        if not section.unanswerable or section.null_threshold is not None or threshold is None:
            return section
        return section.model_copy(update={THRESHOLD: threshold})


def _is_foreign(reading: Reading, train: TrainSet) -> bool:
    """Whether a teacher reads with another tokenizer."""
    return reading.features is not train.features and reading.features is not train.teacher_features


def _as_student_reads(reading: Reading, train: TrainSet, noted: dict[str, float]) -> Reading:
    """What a teacher says, laid out as the student's tokens.

    Args:
        noted: gets `mapped`, the least share of a teacher's probability that moved between tokenizers, in percent.
    """
    read, own = reading.features, train.features
    if read is own:
        return reading
    if not _is_foreign(reading, train):
        return replace(reading, arrays=align_signals(dict(reading.arrays), read, own), features=own)
    found = mapped(reading.arrays, read, own, contexts=train.contexts)
    log.info(
        "a teacher with another tokenizer: %.1f %% of its probability moved to the student's pieces; it says nothing "
        "of %d of %d windows, and in %d the answer is cut",
        100 * found.share_kept,
        found.silent,
        len(own),
        found.golds_lost,
    )
    noted["mapped"] = min(100 * found.share_kept, noted.get("mapped", 100.0))
    return replace(reading, arrays=found.signals, features=own)


def _mean_of(models: Any) -> Any:
    """Several models as one whose logits are their mean."""

    def forward(**inputs: Tensor) -> Any:
        outputs = [model(**inputs) for model in models]
        first = outputs[0]
        first.start_logits = sum(each.start_logits.float() for each in outputs) / len(outputs)
        first.end_logits = sum(each.end_logits.float() for each in outputs) / len(outputs)
        return first

    return forward
