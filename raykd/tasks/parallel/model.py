"""Sentence encoders in and out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from raykd.errors import DataError
from raykd.models.encoder import SentenceEncoder, load_sentence_encoder, tiny_sentence_encoder, vector_size
from raykd.models.multilevel import MultilevelModel, MultilevelOptions, Part
from raykd.models.qa import load_tokenizer
from raykd.tasks.parallel.checks import check_sizes
from raykd.tasks.parallel.config import ParallelPoint, no_own_head
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
        model = load_sentence_encoder(name, pooling=config.distillation.multilevel.pooling, masked_head=True)
        return model, load_tokenizer(name)

    def note(self, model: SentenceEncoder) -> str:
        return "with its own masked-token head" if model.masked_head is not None else ""

    def load(self, folder: str, *, dropout: float | None = None) -> SentenceEncoder:
        return load_sentence_encoder(folder, dropout=dropout, masked_head=True)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return model_inputs(batch)

    def to_train(self, model: SentenceEncoder, config: ParallelPoint, *, teacher: Path) -> MultilevelModel:
        """The student with the heads that its training needs; the seed of the point draws those that are random.

        A masked-token head of its own that is not trained would no longer fit its encoder: it is dropped.

        Raises:
            DataError: if later teachers, which are students, have another width than the first one, or the student has
                no masked-token head and should.
        """
        multilevel, width = config.distillation.multilevel, vector_size(str(teacher))
        check_sizes(config, teacher=width, student=model.width)
        parts = cast(frozenset[Part], config.levels)
        if config.has_tlm:
            parts |= {"tlm"}
        if not config.has_tlm or config.distillation.masked_head == "new":
            model.masked_head = None
        elif config.needs_own_head and model.masked_head is None:
            raise DataError(no_own_head(config.base.model))
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
