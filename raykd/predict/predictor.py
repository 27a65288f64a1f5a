"""A finished model that answers questions, or labels words, as it did inside its sweep."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.data import tags as tagging
from raykd.data.batching import batches_for_inference
from raykd.data.examples import QAExample, Sentence
from raykd.errors import DataError
from raykd.models.accelerator import settle_accelerator
from raykd.models.qa import load_qa_model, load_tokenizer
from raykd.models.tagging import load_tag_model
from raykd.predict.reading import Reading, task_of
from raykd.results.models import fetch_model
from raykd.tasks.qa.decode import best_spans
from raykd.tasks.qa.features import QAFeatures, build_features
from raykd.tasks.tagging.features import rejoin
from raykd.tasks.tagging.learning import best_labels
from raykd.tasks.tagging.windows import build_tag_features
from raykd.tasks.task import TASKS

CANDIDATES = 20
"""Spans that share the probability of an answer; more if more answers are asked for."""

_BATCH_TOKENS = 16384
_LANGUAGE = "und"


@dataclass(frozen=True)
class Answer:
    """A span of a context: `context[start:end] == text`.

    Attributes:
        score: start logit plus end logit, the best of all windows that hold the span.
        probability: softmax of the scores of the `CANDIDATES` best spans of the context.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float


@dataclass(frozen=True)
class Entity:
    """A chunk of labelled words: its type, its first and last word, both included, and the words."""

    type: str
    first: int
    last: int
    text: str


@dataclass(frozen=True)
class Labelled:
    """A sentence with a label for each word; `entities` are the chunks that the labels make, where they make any."""

    words: tuple[str, ...]
    labels: tuple[str, ...]
    entities: tuple[Entity, ...]


class Predictor:
    """Answers questions (task `qa`) or labels words (task `tagging`).

    Attributes:
        task: of the model.
        reading: how texts are cut; as in the sweep that made the model.
    """

    def __init__(self, task: str, model: Any, tokenizer: Any, reading: Reading) -> None:
        self.task, self.reading = task, reading
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model, self._tokenizer = model.eval().to(self._device), tokenizer

    @classmethod
    def load(cls, model: str | Path, *, folder: Path | None = None) -> "Predictor":
        """A predictor of a model.

        Args:
            model: a folder, a Hub id, or `RESULTS#POINT` for what a point of a sweep delivered.
            folder: where relative names are looked for first; None is the current one.

        Raises:
            DataError: if it cannot be found or read, or has neither a question-answering nor a tagging head.
        """
        settle_accelerator()
        place = fetch_model(str(model), folder=folder or Path.cwd())
        task = task_of(place)
        if task == "parallel":
            raise DataError(
                f"model {model}: an encoder, which turns sentences into vectors and neither answers nor labels; load "
                "it with AutoModel of transformers, or start a sweep from it (base.model)"
            )
        loaded = load_qa_model(str(place), needs_head=True) if task == "qa" else load_tag_model(str(place))
        tokenizer = load_tokenizer(str(place))
        positions = getattr(loaded.config.get_text_config(), "max_position_embeddings", None)
        limit = min(tokenizer.model_max_length, positions or tokenizer.model_max_length)
        return cls(task, loaded, tokenizer, Reading.of(place, limit=limit))

    def answer(self, question: str, context: str, *, n_best: int = 1) -> list[Answer]:
        """The `n_best` spans of a context of any length that answer a question, best first.

        Raises:
            DataError: if the model does not answer questions, or there is no text in the context.
        """
        return self.answers([(question, context)], n_best=n_best)[0]

    def answers(self, questions: Sequence[tuple[str, str]], *, n_best: int = 1) -> list[list[Answer]]:
        """The same for many pairs of question and context at once; none for a context that no tokenizer can read."""
        self._must_be("qa")
        for number, (question, context) in enumerate(questions, 1):
            if not context.strip():
                raise DataError(f"question {number} ({question!r}): its context is empty; give a text")
        contexts = [context for _, context in questions]
        # Lone control characters, say, are no tokens.
        readable = [number for number, tokens in enumerate(self._tokens(contexts)) if tokens]
        if not readable:
            return [[] for _ in questions]
        examples = [
            QAExample(str(number), questions[number][0], contexts[number], (), _LANGUAGE, _LANGUAGE)
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
        count = max(CANDIDATES, n_best)
        # Windows in their order: of equal scores the first one counts, as in a sweep.
        found: dict[int, list[tuple[float, int, int]]] = {}
        for window, spans in sorted(self._spans(features, count)):
            found.setdefault(readable[features.example[window]], []).extend(spans)
        return [_ranked(found.get(number, []), text, count)[:n_best] for number, text in enumerate(contexts)]

    def label(self, words: Sequence[str]) -> Labelled:
        """The labels of a sentence of any length, given as words.

        Raises:
            DataError: if the model does not label words, or there are none.
        """
        return self.labels([words])[0]

    def labels(self, sentences: Sequence[Sequence[str]]) -> list[Labelled]:
        """The same for many sentences at once."""
        self._must_be("tagging")
        for number, words in enumerate(sentences, 1):
            if not words or not all(words):
                raise DataError(f"sentence {number}: it has no word, or an empty one")
        if not sentences:
            return []
        examples = [Sentence(str(number), _LANGUAGE, tuple(words)) for number, words in enumerate(sentences)]
        labels = self._model.head.labels
        features = build_tag_features(
            examples,
            self._tokenizer,
            languages=(_LANGUAGE,),
            labels=labels,
            scheme="none",
            max_length=self.reading.max_length,
        )
        predicted: dict[int, list[int]] = {}
        for indices, batch, outputs in self._outputs(features):
            predicted |= dict(best_labels(outputs, batch, indices))
        joined = rejoin(features, [predicted[window] for window in range(len(features))])
        return [
            Labelled(each.words, joined[number], _entities(each.words, joined[number], labels))
            for number, each in enumerate(examples)
        ]

    def _must_be(self, task: str) -> None:
        does = {"qa": "answers questions (task qa)", "tagging": "labels words (task tagging)"}
        if self.task != task:
            raise DataError(f"this model {does[self.task]}; what is asked for is one that {does[task]}")

    def _tokens(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        return self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []

    def _spans(self, features: QAFeatures, count: int) -> Iterator[tuple[int, list[tuple[float, int, int]]]]:
        """Each window, and its best spans: score, first and past-the-last character."""
        for indices, batch, outputs in self._outputs(features):
            masks, starts, ends = (
                part.cpu() for part in (batch["context_mask"], outputs.start_logits, outputs.end_logits)
            )
            for row, window in enumerate(indices.tolist()):
                first, past = features.bounds[window : window + 2]
                length = past - first
                spans = best_spans(
                    starts[row, :length],
                    ends[row, :length],
                    offsets=torch.from_numpy(features.chars[first:past]),
                    context_mask=masks[row, :length],
                    n_best=count,
                    max_answer_tokens=self.reading.max_answer_tokens,
                )
                yield window, [(span.score, span.start_char, span.end_char) for span in spans]

    @torch.no_grad()
    def _outputs(self, features: Any) -> Iterator[tuple[np.ndarray, Mapping[str, Tensor], Any]]:
        """Windows in batches: their indices, what they are, and what the model says of them."""
        task = TASKS[self.task]
        for micro in batches_for_inference(features.lengths, tokens=_BATCH_TOKENS, rank=0, world_size=1):
            batch = {name: part.to(self._device) for name, part in features.collate(micro.indices).items()}
            yield micro.indices, batch, self._model(**task.model_inputs(batch))


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


def _entities(words: Sequence[str], labels: Sequence[str], known: Sequence[str]) -> tuple[Entity, ...]:
    try:
        scheme = tagging.detect([known])
    except tagging.TagError:
        scheme = "none"
    if scheme == "none":
        return ()
    return tuple(
        Entity(kind, first, last, " ".join(words[first : last + 1]))
        for kind, first, last in tagging.spans(labels, scheme)
    )
