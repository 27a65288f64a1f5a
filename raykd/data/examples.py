"""What a reader yields and a task consumes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """A gold answer: `context[start:start + len(text)] == text`, offsets in characters."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class QAExample:
    """One question on one context. The answers are spans of the context, so they are in `context_language`."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    question_language: str
    context_language: str


ParallelQA = dict[str, dict[str, QAExample]]
"""Item id -> language -> the same question, context and answers in that language, in file order."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as words, at least one of them, and a tag for each; `tags` is empty where there is no gold.

    Raises:
        ValueError: if there is no word, or another number of tags than of words.
    """

    id: str
    language: str
    words: tuple[str, ...]
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.words or len(self.tags) not in (0, len(self.words)):
            raise ValueError(f"sentence {self.id}: {len(self.words)} words, {len(self.tags)} tags")


@dataclass(frozen=True, slots=True)
class SentencePair:
    """An English sentence and the same in another language; `language` is `en` for an English sentence with itself."""

    id: str
    language: str
    english: str
    other: str


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two sentences of one language, and what the second is to the first, such as `entailment`."""

    id: str
    language: str
    first: str
    second: str
    label: str
