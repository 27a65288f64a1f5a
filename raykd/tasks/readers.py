"""What reading the data of all tasks has in common."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from raykd.config.point import EvaluationConfig

Evaluation = TypeVar("Evaluation", bound=EvaluationConfig)

PIECES_PER_WORD = 1.6
"""Assumed for an estimate: WikiAnn has 1.4 (English) to 3.1 (Tamil) of mBERT's pieces a word."""


def scored_sources(evaluation: Evaluation) -> list[Evaluation]:
    """What results are scored on, and what is scored after every epoch where that is another set."""
    sources = [evaluation.source, *filter(None, [evaluation.selection])]
    return [evaluation.model_copy(update={"source": source, "selection": None}) for source in sources]


class PlainReader:
    """The usual parts of `TaskData`: models are checked when they are loaded."""

    def check_models(self, configs: Sequence[Any], *, locate: Callable[[str], str]) -> None:
        """Nothing."""
