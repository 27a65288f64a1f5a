"""A finished model that is asked about texts that are no part of a sweep: what tasks have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor

from raykd.data.batching import batches_for_inference
from raykd.errors import DataError
from raykd.models.files import usable_positions
from raykd.models.qa import load_tokenizer
from raykd.tasks.task import TaskModel

LANGUAGE = "und"
"""Of texts that nobody says the language of."""
_BATCH_TOKENS = 16384

Ask = Callable[[str], str | None]
"""From a prompt to a line of the input without its end; None where there is no more."""


@dataclass(frozen=True)
class Said:
    """What a model says of one thing that it was asked.

    Attributes:
        row: as JSON holds it.
        lines: for a person, each a list of texts and their styles, as `rich` calls them, "" for plain text.
    """

    row: Any
    lines: tuple[tuple[tuple[str, str], ...], ...]


def most_tokens(model: Any, tokenizer: Any) -> int:
    """The longest window that a model reads, in tokens: what its positions and its tokenizer allow."""
    most = tokenizer.model_max_length
    return min(most, usable_positions(model.config.to_dict()) or most)


@dataclass(frozen=True)
class Reading:
    """How texts are cut, in tokens.

    Attributes:
        max_length: of a window.
        stride: that neighbouring windows share.
        max_question_length: of a question; the rest of it is cut.
        max_answer_tokens: of an answer.
        whole_words: answers begin and end at the edges of words.
        unanswerable: no answer is given if its score is above that of the best answer by more than `null_threshold`.
    """

    max_length: int = 384
    stride: int = 128
    max_question_length: int = 64
    max_answer_tokens: int = 30
    whole_words: bool = False
    unanswerable: bool = False
    null_threshold: float = 0.0

    @classmethod
    def of(cls, point: Mapping[str, Any], *, limit: int) -> "Reading":
        """As the sweep that made a model read, or else the usual values, with windows of `limit` tokens at most.

        Args:
            point: the configuration of the model's point; empty where nobody knows it.
        """
        sections = {**point.get("data", {}), **point.get("selection", point.get("evaluation", {}))}
        found = {
            each.name: sections[each.name] for each in fields(cls) if isinstance(sections.get(each.name), int | float)
        }
        if "max_length" in found:
            return cls(**found)
        most = min(cls.max_length, limit)
        return cls(most, min(cls.stride, most // 3), min(cls.max_question_length, most // 4))


class TaskPredictor(ABC):
    """A model that answers questions, labels words, or whatever its task is.

    Attributes:
        does: what it does, to follow "this model".
        reading: how texts are cut; as in the sweep that made the model.
    """

    does: ClassVar[str]

    def __init__(self, models: TaskModel, place: Path, point: Mapping[str, Any]) -> None:
        """
        Args:
            models: of the task.
            place: the model's folder.
            point: the configuration of its point; empty where nobody knows it.
        """
        self._models = models
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model, self._tokenizer = self._load(place).eval().to(self._device), load_tokenizer(str(place))
        self.reading = Reading.of(point, limit=most_tokens(self._model, self._tokenizer))

    def _load(self, place: Path) -> Any:
        return self._models.load(str(place))

    @abstractmethod
    def of_file(self, path: Path, *, n_best: int) -> Iterable[Said]:
        """What the model says of all that a file asks, in its order."""

    def of_typed(self, ask: Ask, *, n_best: int) -> Iterator[Said]:
        """What the model says of what is typed, until the input ends."""
        raise DataError(f"this model {self.does}: give it a file")

    def answer(self, question: str, context: str, *, n_best: int = 1) -> list[Any]:
        """The `n_best` spans of a context of any length that answer a question, best first.

        Raises:
            DataError: if the model does not answer questions, or there is no text in the context.
        """
        self._cannot("answers questions (task qa)")

    def answers(self, questions: Sequence[tuple[str, str]], *, n_best: int = 1) -> list[list[Any]]:
        """The same for many pairs of question and context at once; none for a context that no tokenizer can read."""
        self._cannot("answers questions (task qa)")

    def label(self, words: Sequence[str]) -> Any:
        """The labels of a sentence of any length, given as words.

        Raises:
            DataError: if the model does not label words, or there are none.
        """
        self._cannot("labels words (task tagging)")

    def labels(self, sentences: Sequence[Sequence[str]]) -> list[Any]:
        """The same for many sentences at once."""
        self._cannot("labels words (task tagging)")

    def _cannot(self, wanted: str) -> NoReturn:
        raise DataError(f"this model {self.does}; a model that {wanted} is needed")

    @torch.no_grad()
    def _outputs(self, features: Any) -> Iterator[tuple[np.ndarray, Mapping[str, Tensor], Any]]:
        """Windows in batches: their indices, what they are, and what the model says of them."""
        for micro in batches_for_inference(features.lengths, tokens=_BATCH_TOKENS, rank=0, world_size=1):
            batch = {name: part.to(self._device) for name, part in features.collate(micro.indices).items()}
            yield micro.indices, batch, self._model(**self._models.inputs(batch))
