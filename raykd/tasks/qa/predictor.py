"""A finished model that answers questions as it did inside its sweep."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from raykd.data.examples import QAExample
from raykd.errors import DataError
from raykd.models.qa import load_qa_model
from raykd.tasks.predictor import LANGUAGE, Ask, Said, TaskPredictor
from raykd.tasks.qa.decode import best_spans
from raykd.tasks.qa.features import QAFeatures, build_features, with_word_edges
from raykd.tasks.qa.files import read_questions

CANDIDATES = 20
"""Spans that share the probability of an answer; more if more answers are asked for."""

_WHITE_SPACE = re.compile(r"\s+")
_SHOWN_AROUND = 60
"""Characters of the context that are shown on each side of an answer."""


@dataclass(frozen=True)
class Answer:
    """A span of a context: `context[start:end] == text`.

    Attributes:
        score: start logit plus end logit, the best of all windows that hold the span.
        probability: softmax of the scores of the `CANDIDATES` best spans of the context.

    That there is no answer is one too, with an empty text at 0, where the model was made for such questions. Its score
    is that of the first token, the lowest of all windows, minus the threshold: it comes first where it is to be given.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float


class QaPredictor(TaskPredictor):
    """Answers questions with spans of their contexts."""

    does = "answers questions (task qa)"

    def _load(self, place: Path) -> Any:
        return load_qa_model(str(place), needs_head=True)

    def of_file(self, path: Path, *, n_best: int) -> Iterator[Said]:
        questions = read_questions(path)
        found = self.answers([(each.question, each.context) for each in questions], n_best=n_best)
        for each, answers in zip(questions, found, strict=True):
            row = {"id": each.id, "question": each.question, "answers": list(map(asdict, answers))}
            yield Said(row, (((f"{each.id}: {each.question}", ""),), *_lines(answers, each.context)))

    def of_typed(self, ask: Ask, *, n_best: int) -> Iterator[Said]:
        while (context := _context(ask)) is not None:
            while question := ask("Question (empty: another context): "):
                answers = self.answer(question, context, n_best=n_best)
                yield Said({"question": question, "answers": list(map(asdict, answers))}, _lines(answers, context))
            if question is None:
                return

    def answer(self, question: str, context: str, *, n_best: int = 1) -> list[Answer]:
        """The `n_best` spans of a context of any length that answer a question, best first.

        Raises:
            DataError: if the model does not answer questions, or there is no text in the context.
        """
        return self.answers([(question, context)], n_best=n_best)[0]

    def answers(self, questions: Sequence[tuple[str, str]], *, n_best: int = 1) -> list[list[Answer]]:
        """The same for many pairs of question and context at once; none for a context that no tokenizer can read."""
        for number, (question, context) in enumerate(questions, 1):
            if not context.strip():
                raise DataError(f"question {number} ({question!r}): its context is empty; give a text")
        contexts = [context for _, context in questions]
        # Lone control characters, say, are no tokens.
        readable = [number for number, tokens in enumerate(self._tokens(contexts)) if tokens]
        if not readable:
            return [[] for _ in questions]
        examples = [
            QAExample(str(number), questions[number][0], contexts[number], (), LANGUAGE, LANGUAGE)
            for number in readable
        ]
        reading = self.reading
        features = build_features(
            examples,
            self._tokenizer,
            max_length=reading.max_length,
            stride=reading.stride,
            max_question_length=reading.max_question_length,
            no_answer="keep",
        )
        if reading.whole_words:
            features = with_word_edges(features, examples)
        count = max(CANDIDATES, n_best)
        # Windows in their order: of equal scores the first one counts, as in a sweep.
        found: dict[int, list[tuple[float, int, int]]] = {}
        nulls: dict[int, float] = {}
        for window, null, spans in sorted(self._spans(features, count)):
            number = readable[features.example[window]]
            found.setdefault(number, []).extend(spans)
            nulls[number] = min(null, nulls.get(number, math.inf))
        if reading.unanswerable:
            for number, null in nulls.items():
                found[number].append((null - reading.null_threshold, 0, 0))
        return [_ranked(found.get(number, []), text, count)[:n_best] for number, text in enumerate(contexts)]

    def _tokens(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        return self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []

    def _spans(self, features: QAFeatures, count: int) -> Iterator[tuple[int, float, list[tuple[float, int, int]]]]:
        """Each window, its score of no answer, and its best spans: score, first and past-the-last character."""
        for indices, batch, outputs in self._outputs(features):
            masks, starts, ends = (
                part.cpu() for part in (batch["context_mask"], outputs.start_logits, outputs.end_logits)
            )
            edges = batch["word_edges"].cpu() if "word_edges" in batch else None
            for row, window in enumerate(indices.tolist()):
                first, past = features.bounds[window : window + 2]
                length = past - first
                spans = best_spans(
                    starts[row, :length],
                    ends[row, :length],
                    offsets=torch.from_numpy(features.chars[first:past]),
                    context_mask=masks[row, :length],
                    word_edges=edges[row, :length] if edges is not None else None,
                    n_best=count,
                    max_answer_tokens=self.reading.max_answer_tokens,
                )
                null = float(starts[row, 0]) + float(ends[row, 0])
                yield window, null, [(span.score, span.start_char, span.end_char) for span in spans]


def _ranked(spans: Sequence[tuple[float, int, int]], context: str, count: int) -> list[Answer]:
    """The best different spans, without white space at their ends, and what share of `count` of them each has."""
    best: dict[tuple[int, int], float] = {}
    for score, start, end in sorted(spans, key=lambda span: -span[0]):
        text = context[start:end]
        first = start + len(text) - len(text.lstrip())
        best.setdefault((first, first + len(text.strip())), score)
    kept = list(best.items())[:count]
    shares = torch.softmax(torch.tensor([score for _, score in kept], dtype=torch.float64), dim=0).tolist()
    return [
        Answer(context[start:end], start, end, score, share)
        for ((start, end), score), share in zip(kept, shares, strict=True)
    ]


def _lines(answers: Sequence[Answer], context: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Each answer with its probability and score, and marked in its context."""
    if not answers:
        return ((("  no answer: the context has no readable token", ""),),)
    lines: list[tuple[tuple[str, str], ...]] = []
    for answer in answers:
        if not answer.text:
            lines.append(((f"  {answer.probability:.3f}  no answer  (score {answer.score:.2f})", ""),))
            continue
        first, past = max(answer.start - _SHOWN_AROUND, 0), answer.end + _SHOWN_AROUND
        parts = context[first : answer.start], context[answer.start : answer.end], context[answer.end : past]
        before, inside, after = (_WHITE_SPACE.sub(" ", part) for part in parts)
        around = ("... " if first else "", " ..." if past < len(context) else "")
        lines.append(((f"  {answer.probability:.3f}  {inside}  (score {answer.score:.2f})", ""),))
        lines.append(((f"         {around[0]}{before}", ""), (inside, "bold green"), (f"{after}{around[1]}", "")))
    return tuple(lines)


def _context(ask: Ask) -> str | None:
    """A text that is typed, or read from a file that is named; None at the end of the input."""
    prompt = "Paste the context, end with an empty line; or a file name: "
    lines: list[str] = []
    while line := ask(prompt):
        if not lines and len(line) < 1000 and Path(line).is_file():
            return Path(line).read_text(encoding="utf-8", errors="replace")
        lines.append(line)
        prompt = ""
    return "\n".join(lines) or None
