"""Start and end logits of a teacher of extractive QA, moved to the pieces of a student with another tokenizer."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raykd.errors import DataError
from raykd.tasks.qa.features import QAFeatures
from raykd.tasks.qa.terms import ABSENT, OUTPUTS
from raykd.tasks.ragged import bounds_of, stretches


@dataclass(frozen=True)
class Mapped:
    """A teacher's signals as a student's tokens, and what became of them. N windows of T tokens are the student's.

    Attributes:
        signals: `start` and `end`, [T] float32 each.
        windows: [N] the teacher's window that each one was taken from.
        kept: [N, 2] share of the teacher's probability of a start and of an end, at T = 1 and over the context of its
            window, that lies on pieces inside the student's window; 0 to 1.
        moved: [N] the pieces of that window that moved; 0 where all signals are `ABSENT`.
        read: [N] share of the characters between a window's first and last one that lie in the teacher's too; 0 to 1.
        gold: [N, 2] bool: whether the student's window has a gold in its context, and whether both have.
    """

    signals: dict[str, Tensor]
    windows: np.ndarray
    kept: np.ndarray
    moved: np.ndarray
    read: np.ndarray
    gold: np.ndarray

    @property
    def share_kept(self) -> float:
        """Mean of `kept`; 1 where there is no window."""
        return float(self.kept.mean()) if len(self.kept) else 1.0

    @property
    def silent(self) -> int:
        """Windows that the teacher says nothing of: all of their signals are `ABSENT`."""
        return int((self.moved == 0).sum())

    @property
    def golds_lost(self) -> int:
        """Windows with a gold that is not in the teacher's window, or not whole."""
        return int((self.gold[:, 0] & ~self.gold[:, 1]).sum())


def map_signals(
    signals: Mapping[str, Tensor], read: QAFeatures, own: QAFeatures, *, contexts: Mapping[int, str] | None = None
) -> dict[str, Tensor]:
    """The signals of `mapped`, which takes the same and raises the same."""
    return mapped(signals, read, own, contexts=contexts).signals


def mapped(
    signals: Mapping[str, Tensor], read: QAFeatures, own: QAFeatures, *, contexts: Mapping[int, str] | None = None
) -> Mapped:
    """Move a teacher's logits over its pieces to a student's pieces of the same contexts.

    Each window of `own` takes the window of `read` of its example that shares most characters of the context with it;
    among several, the one whose middle is nearest to its own, where a piece has most text on both sides; then the one
    of the same id, then the first.

    A start moves to the piece that holds the first character of the teacher's piece, an end to the piece that holds its
    last one: an answer begins where its first piece begins and ends where its last piece ends, so that the first
    character for both would put the mass of an end on a piece before the gold. A character that no piece holds, since a
    normaliser took it away, counts as the next piece for a start and as the previous one for an end; where several
    pieces share a character, a start takes the first and an end the last of them. Pieces of equal offsets, as the bytes
    of one character have them, move one to one: the k-th to the k-th, counted from the front for starts and from the
    back for ends. A piece without a character, such as a space whose offsets were trimmed, gets mass only in this way.
    Of several on one piece the logits are combined by logsumexp, so that probabilities at T = 1 add up.

    Pieces wholly outside the student's window are dropped; a softmax over its context renormalises what is left. Where
    both windows have a gold in their contexts, the mass of the teacher's gold boundaries goes to the student's,
    whatever the characters say. A gold that is no place in a context, as of unlabelled windows (-1) and of those that
    do not hold the answer (-1, or the first token), is not used.

    Where both tokenizers and both cuts are the same, context logits stay as they are, bit for bit.

    Args:
        signals: `start` and `end`, flat logits laid out as the tokens of `read`; finite.
        read: what the teacher read: all windows of each example, cut with `no_answer="keep"`.
        own: what the student reads; its examples have the numbers and ids that they have in `read`.
        contexts: example number -> its context. Where given, spaces around a teacher's piece are no part of it; without
            it they are characters like others, which matters only if the student has pieces of spaces alone.

    Returns:
        Signals in float32; `ABSENT` where nothing moved to: questions, special tokens, pieces without mass.

    Raises:
        DataError: if an example of `own` has no window in `read`.
    """
    windows, shared = _chosen(read, own)
    source, target = _Pieces(read, windows), _Pieces(own, np.arange(len(own)))
    first, last = source.chars.T if contexts is None else _without_spaces(source, read.example[windows], contexts)
    inside = (last > target.extents[source.row, 0]) & (first < target.extents[source.row, 1])
    alike, starts, ends = target.equals(source)
    inside |= alike
    places = (
        np.where(alike, starts, target.holding_or_next(source.row, first)),
        np.where(alike, ends, target.holding_or_previous(source.row, last)),
    )
    own_gold, both = target.has_gold, target.has_gold & source.has_gold
    for side, place in enumerate(places):
        boundary = source.gold[both, side]
        place[boundary] = target.gold[both, side]
        inside[boundary] = True
    found, kept = {}, np.zeros((len(own), 2))
    for side, name in enumerate(OUTPUTS):
        logits = signals[name].float().numpy()[source.flat]
        values = np.full(len(own.tokens), ABSENT, dtype=np.float32)
        _add_up(values, target.flat[places[side][inside]], logits[inside])
        found[name] = torch.from_numpy(values)
        kept[:, side] = _share(logits, source, inside)
    lengths = target.extents[:, 1] - target.extents[:, 0]
    return Mapped(
        signals=found,
        windows=windows,
        kept=kept,
        moved=np.bincount(source.row[inside], minlength=len(own)),
        read=np.where(lengths > 0, shared / np.maximum(lengths, 1), 1.0),
        gold=np.stack([own_gold, both], axis=1),
    )


class _Pieces:
    """The P context pieces of N windows, end to end.

    Attributes:
        row: [P] which of the windows each piece is in.
        flat: [P] its index in the flat arrays of the features.
        chars: [P, 2] int64 character offsets.
        bounds: [N + 1] where the pieces of each window begin.
        solid: [S] the pieces that hold a character. Byte-level BPE has others: of a space alone, if it trims offsets.
            All pieces of a window in which none does.
        extents: [N, 2] the first character that solid pieces of each window hold, and the one past the last.
        gold: [N, 2] the pieces where the gold begins and ends; of no meaning where not `has_gold` [N].
    """

    def __init__(self, features: QAFeatures, windows: np.ndarray) -> None:
        context = features.context[windows].astype(np.int64)
        lengths = context[:, 1] - context[:, 0]
        self.bounds = bounds_of(lengths)
        self.row = np.repeat(np.arange(len(windows)), lengths)
        self.flat = stretches(features.bounds[windows] + context[:, 0], lengths)
        self.chars = features.chars[self.flat].astype(np.int64)
        held = self.chars[:, 1] > self.chars[:, 0]
        empty = np.bincount(self.row, weights=held, minlength=len(windows)) == 0
        self.solid = np.flatnonzero(held | empty[self.row])
        self.solid_bounds = np.searchsorted(self.solid, self.bounds)
        self.extents = _extents(self.chars[self.solid], self.solid_bounds)
        gold = features.gold[windows].astype(np.int64)
        self.has_gold = ((gold >= context[:, :1]) & (gold < context[:, 1:])).all(axis=1)
        self.gold = self.bounds[:-1, None] + gold - context[:, :1]

    def holding_or_next(self, row: np.ndarray, char: np.ndarray) -> np.ndarray:
        """[M] the first solid piece of window `row` [M] that ends after `char` [M]; the last one if none does."""
        size = self._size(char)
        ends = np.maximum.accumulate(self.row[self.solid] * size + self.chars[self.solid, 1])
        found = np.searchsorted(ends, row * size + char, side="right")
        return self.solid[np.minimum(found, self.solid_bounds[row + 1] - 1)]

    def holding_or_previous(self, row: np.ndarray, past: np.ndarray) -> np.ndarray:
        """[M] the last solid piece of window `row` [M] that begins before `past` [M]; the first one if none does."""
        size = self._size(past)
        starts = np.minimum.accumulate((self.row[self.solid] * size + self.chars[self.solid, 0])[::-1])[::-1]
        found = np.searchsorted(starts, row * size + past, side="left") - 1
        return self.solid[np.maximum(found, self.solid_bounds[row])]

    def equals(self, other: "_Pieces") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which pieces of `other` have offsets that pieces of the same window here have too, and which these are.

        Returns:
            [M] bool; [M] the piece of the same rank, counted from the first of equal offsets on; [M] the same counted
            from the last one. Where there are fewer here, the ranks beyond are the farthest one's.
        """
        size = self._size(other.chars)
        mine, theirs = ((each.row * size + each.chars[:, 0]) * size + each.chars[:, 1] for each in (self, other))
        order, again = np.argsort(mine, kind="stable"), np.argsort(theirs, kind="stable")
        begin, past = (np.searchsorted(mine[order], theirs, side=side) for side in ("left", "right"))
        there, beyond = (np.searchsorted(theirs[again], theirs, side=side) for side in ("left", "right"))
        ranked = np.empty_like(again)
        ranked[again] = np.arange(len(again))
        front = np.minimum(begin + ranked - there, past - 1)
        back = np.maximum(past - (beyond - ranked), begin)
        alike = past > begin
        front, back = (order[np.where(alike, place, 0)] if len(order) else place for place in (front, back))
        return alike, front, back

    def _size(self, others: np.ndarray) -> int:
        """More than any offset of these pieces and of `others`."""
        return int(max(self.chars.max(initial=0), others.max(initial=0))) + 2


def _chosen(read: QAFeatures, own: QAFeatures) -> tuple[np.ndarray, np.ndarray]:
    """[N] the window of `read` that each one of `own` takes, and [N] how many characters they share."""
    order = np.argsort(read.example, kind="stable")
    first, past = (np.searchsorted(read.example[order], own.example, side=side) for side in ("left", "right"))
    _refuse_unread(read, own)
    row = np.repeat(np.arange(len(own)), past - first)
    candidate = order[stretches(first, past - first)]
    mine, theirs = _extents_of(own)[row], _extents_of(read)[candidate]
    shared = np.minimum(mine[:, 1], theirs[:, 1]) - np.maximum(mine[:, 0], theirs[:, 0])
    distance = np.abs(mine.sum(axis=1) - theirs.sum(axis=1))
    number = {name: index for index, name in enumerate(read.ids)}
    other = np.array([number.get(name, -1) for name in own.ids], dtype=np.int64)[row] != candidate
    ranked = np.lexsort((candidate, other, distance, -shared, row))
    best = ranked[np.searchsorted(row, np.arange(len(own)))]
    return candidate[best], np.maximum(shared[best], 0)


def _refuse_unread(read: QAFeatures, own: QAFeatures) -> None:
    wanted = _examples(own)
    unread = sorted(wanted - _examples(read))
    if unread:
        shown = ", ".join([*(name for name, _ in unread[:3]), *(["..."] if len(unread) > 3 else [])])
        found = f"{len(unread)} of {len(wanted)} examples that the student reads"
        raise DataError(f"{shown}: the teacher has no window of {found}; cut its windows of the same examples")


def _examples(features: QAFeatures) -> set[tuple[str, int]]:
    """Id and number of each example that has a window."""
    return {
        (name.rpartition("#")[0], number) for name, number in zip(features.ids, features.example.tolist(), strict=True)
    }


def _extents_of(features: QAFeatures) -> np.ndarray:
    return _Pieces(features, np.arange(len(features))).extents


def _extents(chars: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """[N, 2] the lowest and the highest of offsets [P, 2] in each stretch, none of which is empty."""
    if len(bounds) == 1:
        return np.zeros((0, 2), dtype=np.int64)
    low, high = np.minimum.reduceat(chars[:, 0], bounds[:-1]), np.maximum.reduceat(chars[:, 1], bounds[:-1])
    return np.stack([low, high], axis=1)


def _without_spaces(pieces: _Pieces, example: np.ndarray, contexts: Mapping[int, str]) -> tuple[np.ndarray, np.ndarray]:
    """First character and the one past the last, [P] each, of pieces without the spaces around them.

    A piece of nothing but spaces stays as it is.

    Args:
        example: [N] number of the example of each window.
    """
    numbers, place = np.unique(example, return_inverse=True)
    texts = [contexts[number] for number in numbers.tolist()]
    base = bounds_of([len(text) for text in texts])[:-1][place][pieces.row]
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    spaces = [code for code in np.unique(codes).tolist() if chr(code).isspace()]
    index, bare = np.arange(len(codes) + 1), np.append(np.isin(codes, spaces), False)
    following = np.minimum.accumulate(np.where(bare, len(codes), index)[::-1])[::-1]
    preceding = np.maximum.accumulate(np.where(bare, -1, index))
    first, past = pieces.chars.T
    left, right = following[base + first] - base, preceding[np.maximum(base + past - 1, 0)] + 1 - base
    trimmed = left < right
    return np.where(trimmed, left, first), np.where(trimmed, right, past)


def _add_up(values: np.ndarray, places: np.ndarray, logits: np.ndarray) -> None:
    """Set `values` at each of `places` [K] to the logsumexp of its `logits` [K]; to the very logit where it is one."""
    order = np.argsort(places, kind="stable")
    places, logits = places[order], logits[order]
    first = np.flatnonzero(np.diff(places, prepend=-1))
    if not len(first):
        return
    most = np.maximum.reduceat(logits, first)
    counts = np.diff(first, append=len(places))
    sums = np.add.reduceat(np.exp(logits - np.repeat(most, counts).astype(np.float64)), first)
    values[places[first]] = np.where(counts == 1, most, most + np.log(sums))


def _share(logits: np.ndarray, pieces: _Pieces, inside: np.ndarray) -> np.ndarray:
    """[N] the part of the softmax of each window's `logits` [P] that lies `inside` [P]."""
    if not len(logits):
        return np.zeros(0)
    most = np.maximum.reduceat(logits, pieces.bounds[:-1])
    odds = np.exp(logits - most[pieces.row].astype(np.float64))
    part, whole = (np.add.reduceat(each, pieces.bounds[:-1]) for each in (odds * inside, odds))
    return part / whole
