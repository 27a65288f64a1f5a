"""What a task's model is outside of raykd, and what of its outputs must be the same there."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from raykd.config.point import PointBase

Batch = dict[str, Tensor]
LANGUAGES = ("en", "de", "ar", "zh")
"""Of the made-up examples that a model is compared on."""
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Form(Protocol):
    """A task's model as a plain one of transformers.

    Attributes:
        outputs: names of what the plain model answers with, as transformers calls it.
        auto_class: the class of transformers that loads it.
        own_files: files beside the plain model that hold what it has no place for.
    """

    outputs: tuple[str, ...]
    auto_class: Any
    own_files: tuple[str, ...]

    def plain(self, model: Any) -> nn.Module:
        """The model as a class of transformers; DataError where there is none."""

    def load_options(self, kind: type[Any]) -> dict[str, Any]:
        """What `from_pretrained` is told of a plain model's class, so that it adds no layer that was not trained."""

    def batches(self, tokenizer: Any, model: Any, config: PointBase) -> list[Batch]:
        """Made-up probes: batches of several sizes and lengths, as the sweep would read such texts."""

    def answers(self, model: Any, batch: Batch) -> list[Tensor]:
        """What the model in raykd answers."""

    def aligned(self, outputs: Sequence[Tensor], batch: Batch, model: Any) -> list[Tensor]:
        """`outputs` of the plain model, laid out as `answers`."""

    def decisions(self, answers: Sequence[Tensor], batch: Batch, model: Any) -> list[Any]:
        """What is concluded: spans, or labels."""

    def usage(
        self, config: PointBase, model: Any, *, name: str, words_bring_spaces: bool, options: Mapping[str, Any]
    ) -> str:
        """Python that uses the model without raykd, for its card.

        Args:
            name: of its folder.
            words_bring_spaces: whether the tokenizer wants words with the space before them.
            options: of `from_pretrained`.
        """


def plain_inputs(batch: Mapping[str, Tensor]) -> Batch:
    """The part of a batch that a plain model reads."""
    return {name: batch[name] for name in _INPUTS if name in batch}


def cut(features: Any) -> list[Batch]:
    """Windows as batches of one, two, and all the others."""
    return [features.collate(np.arange(first, past)) for first, past in borders(len(features))]


def borders(count: int) -> list[tuple[int, int]]:
    """One, two, and all the others."""
    return [(0, 1), (1, 3), (3, count)]
