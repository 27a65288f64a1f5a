"""Sequence labelling: what a batch costs, who teaches it, and how predictions are scored."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.tasks.outcomes import Scored, Scores
from raykd.tasks.plain import PlainLearning
from raykd.tasks.tagging.config import OTHERS, TaggingDistillation, TaggingScored
from raykd.tasks.tagging.features import TagFeatures
from raykd.tasks.tagging.frozen import FrozenEncoder
from raykd.tasks.tagging.model import model_inputs
from raykd.tasks.tagging.sets import TagDevSet, TagTrainSet
from raykd.tasks.tagging.summary import Prediction, combine, score_predictions
from raykd.tasks.tagging.teachers import StoredTeacher, as_cut
from raykd.tasks.tagging.terms import OUTPUTS, TeacherSlot, best_labels, loss_terms, transitions_of
from raykd.tasks.teaching import Teacher, Teaching


class TaggingLearning(PlainLearning):
    """See `raykd.tasks.task.TaskLearning`."""

    outputs = OUTPUTS
    stored_dtype = torch.float16
    frozen = FrozenEncoder()

    def forward(self, model: Any, batch: dict[str, Tensor], said: Sequence[TeacherSlot] | None) -> Any:
        return model(**model_inputs(batch))

    def num_labelled(self, train: TagTrainSet) -> int:
        return train.num_labelled

    def teacher_features(self, train: TagTrainSet, tokenizer: Any, *, first: bool) -> TagFeatures:
        return train.read_with(tokenizer)

    def taught_by(self, features: TagFeatures, language: str | None, *, named: Collection[str | None]) -> np.ndarray:
        if language is None:
            return np.arange(len(features))
        if language == OTHERS:
            known = [number for number, name in enumerate(features.languages) if name in named]
            return np.flatnonzero(~np.isin(features.language, known))
        return features.of_language(language)

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
        """Each sentence has its own teachers, which may have cut it into other windows."""
        readings = [as_cut(each, train.features) for each in teaching.readings]
        return StoredTeacher(
            train.features,
            readings,
            teaching.distillation,
            device=teaching.device,
            num_labelled=train.num_labelled,
            pseudo_from=teaching.pseudo_from,
        )

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
