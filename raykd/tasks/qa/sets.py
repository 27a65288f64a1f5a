"""What a point of task `qa` trains on, and what it is scored on, as windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raykd.data.examples import ParallelQA, QAExample
from raykd.tasks.qa.config import QaPoint
from raykd.tasks.qa.data import Cells, load_train
from raykd.tasks.qa.features import QAFeatures, build_features, with_questions, with_word_edges


@dataclass(frozen=True)
class TrainSet:
    """What a point trains on.

    Attributes:
        features: the student's windows.
        teacher_features: what the teacher reads in their place, window for window.
        sha256: hash of the examples.
        description: what a record says of the data: the budget's ids and hash, counts of language pairs.
    """

    features: QAFeatures
    teacher_features: QAFeatures
    sha256: str
    description: dict[str, Any]


@dataclass(frozen=True)
class DevSet:
    """What a model is scored on: cells of example numbers, and the windows of all examples."""

    cells: dict[tuple[str, str], list[int]]
    examples: Sequence[QAExample]
    features: QAFeatures

    def first(self, count: int) -> "DevSet":
        """The first `count` questions of every cell."""
        cells = {cell: numbers[:count] for cell, numbers in self.cells.items()}
        kept = [number for numbers in cells.values() for number in numbers]
        return DevSet(cells, self.examples, self.features.take(np.flatnonzero(np.isin(self.features.example, kept))))


def train_set(config: QaPoint, tokenizer: Any, items: ParallelQA) -> TrainSet:
    """The windows of a point's budget."""
    data = load_train(config.data, items, seed=config.data_seed)
    features = build_features(data.examples, tokenizer, no_answer=config.data.no_answer, **config.window_options)
    seen = features
    if data.teacher_questions is not None:
        most = config.data.max_question_length
        seen = with_questions(features, data.teacher_questions, tokenizer, max_question_length=most)
    return TrainSet(features, seen, data.sha256, data.description())


def dev_set(cells: Cells, tokenizer: Any, *, whole_words: bool = False, **window_options: int) -> DevSet:
    """Cells as windows, every question of every cell with a number of its own.

    Args:
        whole_words: answers are whole words.
    """
    examples: list[QAExample] = []
    numbers: dict[tuple[str, str], list[int]] = {}
    for cell, members in cells.items():
        numbers[cell] = list(range(len(examples), len(examples) + len(members)))
        examples += members
    features = build_features(examples, tokenizer, no_answer="keep", **window_options)
    return DevSet(numbers, examples, with_word_edges(features, examples) if whole_words else features)
