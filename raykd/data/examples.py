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
