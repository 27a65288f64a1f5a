"""Tagging models in and out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from raykd.config.explain import show
from raykd.errors import ArtifactError, DataError
from raykd.models.qa import load_tokenizer
from raykd.models.tagging import TagHead, TagModel, head_of, load_head, load_tag_model, tiny_tag_model
from raykd.tasks.plain import PlainModel
from raykd.tasks.tagging.config import HeadConfig, TaggingPoint
from raykd.tasks.tagging.data import TagItems


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a tagging model reads of a batch."""
    names = ("input_ids", "attention_mask", "token_type_ids", "first", "last", "word_mask", "words")
    return {name: batch[name] for name in names if name in batch}


class TaggingModel(PlainModel):
    """See `raykd.tasks.task.TaskModel`."""

    def tiny(self, config: TaggingPoint, tokenizer: Any, *, items: TagItems, seed: int) -> TagModel:
        return tiny_tag_model(tokenizer, _head(config, items), seed=seed)

    def given(self, config: TaggingPoint, name: str, *, items: TagItems) -> tuple[TagModel, Any]:
        """With a new head where teachers are trained, else with the one it has."""
        tokenizer = load_tokenizer(name)
        if config.base.train or config.teachers:
            return load_tag_model(name, head=_head(config, items)), tokenizer
        model = load_tag_model(name, freeze_encoder=config.head.freeze_encoder)
        wanted, found = config.head, model.head
        problems = _other_head(f"base.model {name}", wanted, found)
        if wanted.labels is not None and set(items.labels()) != set(found.labels):
            problems.append(
                f"base.model {name}: head.labels stand for {', '.join(items.labels())}, the model has "
                f"{', '.join(found.labels)}; use those of the model, or train a head (base.train)"
            )
        if problems:
            raise DataError(problems)
        return model, tokenizer

    def student(self, config: TaggingPoint, name: str, *, base: Path) -> TagModel:
        """With a new head for the labels of generation 0 where it has none of ours.

        Raises:
            DataError: if it has a head for other labels; it names both sides.
        """
        wanted, found = head_of(str(base)), load_head(name)
        if found is None:
            return load_tag_model(name, head=wanted)
        if found.labels != wanted.labels:
            raise DataError(
                f"student.model {name}: its labels are {', '.join(found.labels)}; its teacher's are "
                f"{', '.join(wanted.labels)}: teacher and student need one label set"
            )
        if problems := _other_head(f"student.model {name}", config.head, found):
            raise DataError(problems)
        return load_tag_model(name, freeze_encoder=config.head.freeze_encoder)

    def renew_head(self, model: TagModel) -> None:
        model.renew_head()

    def load(self, folder: str, *, dropout: float | None = None) -> TagModel:
        return load_tag_model(folder, dropout=dropout)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return model_inputs(batch)

    def check_alike(self, teacher: Path, base: Path) -> None:
        sides = [head_of(str(folder)) for folder in (teacher, base)]
        if sides[0].labels != sides[1].labels:
            raise ArtifactError(
                f"{teacher}: its labels are {', '.join(sides[0].labels)}; those of this lineage ({base}) are "
                f"{', '.join(sides[1].labels)}: teacher and student need one label set"
            )


class TaggingTeachers:
    """Models that label words, see `raykd.tasks.task.GivenTeachers`."""

    def tiny(self, config: TaggingPoint, tokenizer: Any) -> TagModel:
        raise DataError("teachers: builtin:tiny labels nothing; name a model that was trained")

    def given(self, config: TaggingPoint, name: str) -> TagModel:
        return load_tag_model(name)


def _other_head(whose: str, wanted: HeadConfig, found: TagHead) -> list[str]:
    """A line for each key in which a model's head is not that of the file; objectives were checked against the file."""
    return [
        f"{whose}: head.{key} is {show(getattr(wanted, key))} in the sweep file and {show(getattr(found, key))} in the "
        "model; use the value of the model, or train a head (base.train)"
        for key in ("kind", "pooling", "lstm_size")
        if getattr(wanted, key) != getattr(found, key)
    ]


def _head(config: TaggingPoint, items: TagItems) -> TagHead:
    head = config.head
    return TagHead(items.labels(), head.kind, head.pooling, head.lstm_size, head.freeze_encoder)
