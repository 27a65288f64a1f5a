"""A finished model that labels words as it did inside its sweep."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from raykd.data import tags as tagging
from raykd.data.examples import Sentence
from raykd.errors import DataError
from raykd.tasks.predictor import LANGUAGE, Ask, Said, TaskPredictor
from raykd.tasks.tagging.features import rejoin
from raykd.tasks.tagging.files import read_sentences
from raykd.tasks.tagging.terms import best_labels
from raykd.tasks.tagging.windows import build_tag_features


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


class TaggingPredictor(TaskPredictor):
    """Gives every word of a sentence a label."""

    does = "labels words (task tagging)"

    def of_file(self, path: Path, *, n_best: int) -> Iterator[Said]:
        yield from map(_said, self.labels(read_sentences(path)))

    def of_typed(self, ask: Ask, *, n_best: int) -> Iterator[Said]:
        while words := (ask("Sentence: ") or "").split():
            yield _said(self.label(words))

    def label(self, words: Sequence[str]) -> Labelled:
        """The labels of a sentence of any length, given as words.

        Raises:
            DataError: if the model does not label words, or there are none.
        """
        return self.labels([words])[0]

    def labels(self, sentences: Sequence[Sequence[str]]) -> list[Labelled]:
        """The same for many sentences at once."""
        for number, words in enumerate(sentences, 1):
            if not words or not all(words):
                raise DataError(f"sentence {number}: it has no word, or an empty one")
        if not sentences:
            return []
        examples = [Sentence(str(number), LANGUAGE, tuple(words)) for number, words in enumerate(sentences)]
        labels = self._model.head.labels
        features = build_tag_features(
            examples,
            self._tokenizer,
            languages=(LANGUAGE,),
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


def _said(labelled: Labelled) -> Said:
    lines = [f"{word}\t{label}" for word, label in zip(labelled.words, labelled.labels, strict=True)]
    return Said(asdict(labelled), tuple(((line, ""),) for line in [*lines, ""]))
