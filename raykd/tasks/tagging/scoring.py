"""Scores of tagging: exact chunks and single words, counted by sentence so that shares add up. Needs no torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from raykd.data.tags import Scheme, spans
from raykd.errors import DataError


@dataclass(frozen=True, slots=True)
class TagCounts:
    """What was hit in some sentences; counts of disjoint sentences add up, whatever process counted them.

    Attributes:
        gold, predicted: chunks.
        hit: chunks with the same type, first and last word in both.
        words: words.
        words_hit: words with the gold tag, all schemes alike.
    """

    gold: int = 0
    predicted: int = 0
    hit: int = 0
    words: int = 0
    words_hit: int = 0

    def __add__(self, other: "TagCounts") -> "TagCounts":
        return TagCounts(
            self.gold + other.gold,
            self.predicted + other.predicted,
            self.hit + other.hit,
            self.words + other.words,
            self.words_hit + other.words_hit,
        )


@dataclass(frozen=True, slots=True)
class TagScore:
    """Scores in percent, 0 to 100; `precision`, `recall` and `f1` of chunks, `accuracy` of words."""

    precision: float
    recall: float
    f1: float
    accuracy: float


def count(gold: Sequence[str], predicted: Sequence[str], *, scheme: Scheme) -> TagCounts:
    """The counts of one sentence.

    An illegal sequence is read as conlleval does, see `raykd.data.tags.spans`. In the scheme `none` every word is a
    chunk, so `f1` is the accuracy.

    Args:
        gold, predicted: a tag for each word, as many on both sides.
        scheme: of both.

    Raises:
        ValueError: if the lengths differ or a tag is not of the scheme.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold tags, but {len(predicted)} predicted ones")
    wanted, found = spans(gold, scheme), spans(predicted, scheme)
    return TagCounts(
        gold=len(wanted),
        predicted=len(found),
        hit=len(set(wanted) & set(found)),
        words=len(gold),
        words_hit=sum(map(str.__eq__, gold, predicted)),
    )


def score(counts: Iterable[TagCounts]) -> TagScore:
    """Micro-averaged scores over all sentences: precision hit / predicted, recall hit / gold, F1 their harmonic mean.

    Nothing is rounded. A share of nothing is 0, as in conlleval: no chunk in gold and prediction scores 0.

    Raises:
        DataError: if there is no word.
    """
    total = sum(counts, start=TagCounts())
    if not total.words:
        raise DataError("no words to score; a language needs at least one")
    return TagScore(
        precision=_percent(total.hit, total.predicted),
        recall=_percent(total.hit, total.gold),
        # The harmonic mean, without the detour over two rounded quotients.
        f1=_percent(2 * total.hit, total.gold + total.predicted),
        accuracy=_percent(total.words_hit, total.words),
    )


def summarize(scores: Mapping[str, TagScore]) -> dict[str, float | None]:
    """The means over languages, which all weigh the same whatever their size; None where there is no language.

    Args:
        scores: language -> score.

    Returns:
        "precision", "recall", "f1", "accuracy", in percent.
    """
    names = ("precision", "recall", "f1", "accuracy")
    return {name: fmean(getattr(entry, name) for entry in scores.values()) if scores else None for name in names}


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
