"""Sentence encoders in and out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from raykd.config.base import never_positive
from raykd.models.encoder import SentenceEncoder, load_sentence_encoder, tiny_sentence_encoder, vector_size
from raykd.models.multilevel import MultilevelModel, MultilevelOptions, Part
from raykd.models.qa import load_tokenizer
from raykd.tasks.parallel.checks import check_sizes
from raykd.tasks.parallel.config import ParallelPoint
from raykd.tasks.plain import PlainModel

_ENCODED = ("input_ids", "attention_mask", "token_type_ids", "first", "word_mask")
_TEACHER_SEED = 1
"""Of the tiny teacher; the tiny student has 0."""


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an encoder reads of a batch of sentences."""
    return {name: batch[name] for name in _ENCODED if name in batch}


class ParallelModel(PlainModel):
    """See `raykd.tasks.task.TaskModel`."""

    def tiny(self, config: ParallelPoint, tokenizer: Any, *, items: Any, seed: int) -> SentenceEncoder:
        return tiny_sentence_encoder(tokenizer, seed=seed, pooling=config.distillation.multilevel.pooling)

    def given(self, config: ParallelPoint, name: str, *, items: Any) -> tuple[SentenceEncoder, Any]:
        model = load_sentence_encoder(name, pooling=config.distillation.multilevel.pooling)
        return model, load_tokenizer(name)

    def load(self, folder: str, *, dropout: float | None = None) -> SentenceEncoder:
        return load_sentence_encoder(folder, dropout=dropout)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return model_inputs(batch)

    def to_train(self, model: SentenceEncoder, config: ParallelPoint, *, teacher: Path) -> MultilevelModel:
        """The student with the heads that its training needs; the seed of the point draws them.

        Raises:
            DataError: if later teachers, which are students, have another width than the first one.
        """
        multilevel, width = config.distillation.multilevel, vector_size(str(teacher))
        check_sizes(config, teacher=width, student=model.width)
        parts = cast(frozenset[Part], config.levels)
        if not never_positive(config.distillation.weights[0]):
            parts |= {"tlm"}
        gather = multilevel.relations == "gathered"
        options = MultilevelOptions(width, parts, multilevel.norm, multilevel.projection_size, gather)
        return MultilevelModel(model, options, seed=config.seed)


class EnglishTeacher:
    """The encoder that teaches generation 1, see `raykd.tasks.task.GivenTeachers`."""

    def tiny(self, config: ParallelPoint, tokenizer: Any) -> SentenceEncoder:
        """Other random weights than those of the student."""
        return tiny_sentence_encoder(tokenizer, seed=_TEACHER_SEED, pooling=config.teacher.pooling)

    def given(self, config: ParallelPoint, name: str) -> SentenceEncoder:
        return load_sentence_encoder(name, pooling=config.teacher.pooling)
