"""What a point of task `qa` trains on, and what it is scored on, as windows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raykd.data.examples import QAExample
from raykd.models.tokenizer import tokenizer_hash
from raykd.tasks.qa.config import QaPoint
from raykd.tasks.qa.data import Cells, QaItems, load_train
from raykd.tasks.qa.features import QAFeatures, build_features, joined, with_questions, with_word_edges


@dataclass(frozen=True)
class TrainSet:
    """What a point trains on.

    Attributes:
        features: the student's windows.
        teacher_features: what the teacher reads in their place, window for window, with the same tokenizer.
        num_labelled: the first so many windows have labels.
        unlabelled_languages: the language of the context of each of the others.
        contexts: number of each example -> its context.
        read_with: what a teacher reads with another tokenizer: all windows of the same examples.
        sha256: hash of the examples.
        description: what a record says of the data: the budget's ids and hash, counts of language pairs.
    """

    features: QAFeatures
    teacher_features: QAFeatures
    sha256: str
    description: dict[str, Any]
    num_labelled: int
    unlabelled_languages: tuple[str, ...]
    contexts: dict[int, str]
    read_with: Callable[[Any], QAFeatures]


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


def train_set(config: QaPoint, tokenizer: Any, items: QaItems) -> TrainSet:
    """The windows of a point's budget, and all windows of its unlabelled items."""
    data = load_train(config.data, items, seed=config.data_seed, unlabelled=config.unlabelled)
    first, options = data.examples[: data.num_labelled], config.window_options
    features = build_features(first, tokenizer, no_answer=config.data.no_answer, **options)
    num_labelled = len(features)
    if others := data.examples[data.num_labelled :]:
        features = joined(features, build_features(others, tokenizer, no_answer="keep", **options), len(first))

    def as_seen(features: QAFeatures, tokenizer: Any) -> QAFeatures:
        if data.teacher_questions is None:
            return features
        most = config.data.max_question_length
        return with_questions(features, data.teacher_questions, tokenizer, max_question_length=most)

    seen = as_seen(features, tokenizer)
    known = {tokenizer_hash(tokenizer): seen}

    def read_with(tokenizer: Any) -> QAFeatures:
        name = tokenizer_hash(tokenizer)
        if name not in known:
            known[name] = as_seen(build_features(data.examples, tokenizer, no_answer="keep", **options), tokenizer)
        return known[name]

    languages = tuple(data.examples[number].context_language for number in features.example[num_labelled:])
    contexts = {number: example.context for number, example in enumerate(data.examples)}
    return TrainSet(features, seen, data.sha256, data.description(), num_labelled, languages, contexts, read_with)


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
