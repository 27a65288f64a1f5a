"""Sequence labelling: what a batch costs, who teaches it, and how predictions are scored."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.tasks.outcomes import Scored, Scores
from raykd.tasks.plain import PlainLearning
from raykd.tasks.tagging.config import TaggingDistillation, TaggingScored
from raykd.tasks.tagging.model import model_inputs
from raykd.tasks.tagging.sets import TagDevSet, TagTrainSet
from raykd.tasks.tagging.summary import Prediction, combine, score_predictions
from raykd.tasks.tagging.teachers import StoredTeacher
from raykd.tasks.tagging.terms import OUTPUTS, TeacherSlot, best_labels, loss_terms, transitions_of
from raykd.tasks.teaching import Teacher, Teaching


class TaggingLearning(PlainLearning):
    """See `raykd.tasks.task.TaskLearning`."""

    outputs = OUTPUTS
    stored_dtype = torch.float16

    def forward(self, model: Any, batch: dict[str, Tensor], said: Sequence[TeacherSlot] | None) -> Any:
        return model(**model_inputs(batch))

    def taught_by(self, train: TagTrainSet, language: str | None) -> np.ndarray:
        return np.arange(len(train.features)) if language is None else train.features.of_language(language)

    def terms(
        self,
        outputs: Any,
        batch: dict[str, Tensor],
        said: Sequence[TeacherSlot] | None,
        config: TaggingDistillation,
        *,
        padding: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """[B] each, summed over words."""
        return loss_terms(outputs, batch, said, config)

    def teacher(self, train: TagTrainSet, teaching: Teaching) -> Teacher:
        """Each sentence has its own teachers."""
        return StoredTeacher(train.features, teaching.readings, teaching.distillation, device=teaching.device)

    def signals(self, outputs: Any) -> dict[str, Tensor]:
        """[B, W, V] scores of labels."""
        return {"emissions": outputs.emissions.float()}

    def constants(self, outputs: Any) -> dict[str, Tensor]:
        """A CRF's transitions; nothing of a softmax head."""
        found = transitions_of(outputs)
        return {} if found is None else {name: values.float() for name, values in found._asdict().items()}

    def predict(
        self, outputs: Any, batch: dict[str, Tensor], indices: np.ndarray, section: TaggingScored
    ) -> list[Prediction]:
        """The best labels of every window of a batch."""
        return best_labels(outputs, batch, indices)

    def score(self, predictions: Iterable[Prediction], scored: TagDevSet, section: TaggingScored) -> Scored:
        """Means over trained and over zero-shot languages, and each language."""
        return score_predictions(predictions, scored)

    def combine(self, scored: Mapping[str | None, Scored], chosen: Scores | None = None) -> Scored:
        """Each language by its own teacher, a zero-shot one by the best there."""
        return combine(scored, chosen)
