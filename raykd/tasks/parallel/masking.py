"""Which pieces and words are masked, and by what: numbers that a pair, a seed and an epoch have, whatever the batch.

The numbers are SplitMix64's (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195), one sequence for each pair. A
number is a hash of its place, so those of a whole batch are computed at once and in no order.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raykd.tasks.ragged import counted

_RATE = 0.15
_MOST_WORDS = 0.25
_MASKED, _KEPT = 0.8, 0.9
_STEP = np.uint64(0x9E3779B97F4A7C15)


def pair_keys(ids: Sequence[str]) -> np.ndarray:
    """[N] uint64: a number for each id, the same on every machine."""
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


@dataclass(frozen=True, slots=True)
class Masking:
    """The masks of one epoch.

    Attributes:
        mask: the mask token.
        pieces: [V] what a random piece is drawn from: all that are not special tokens.
        seed, epoch: of the draw.
    """

    mask: int
    pieces: np.ndarray
    seed: int = 0
    epoch: int = 0

    def selected_pieces(self, keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Which pieces to predict: each with probability 0.15, and in a pair without any, one.

        Args:
            keys: [N] of pairs, from `pair_keys`.
            counts: [N] pieces of each, at least 1.

        Returns:
            [sum of counts] bool.
        """
        numbers = self._uniform("pieces", keys, counts)
        # The least of a pair is any of them with the same probability.
        least = np.minimum.reduceat(numbers, np.cumsum(counts) - counts)
        return (numbers < _RATE) | (numbers == np.repeat(least, counts))

    def selected_words(self, keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Which words to mask: of W words min(floor(0.25 W), max(1, round(0.15 W))), but at least one.

        Args:
            keys: [N] of pairs, from `pair_keys`.
            counts: [N] words of each, W, at least 1.

        Returns:
            [sum of counts] bool.
        """
        numbers = self._uniform("words", keys, counts)
        order = np.lexsort((numbers, np.repeat(np.arange(len(counts)), counts)))
        selected = np.empty(len(numbers), dtype=bool)
        selected[order] = counted(counts) < np.repeat(_words_to_mask(counts), counts)
        return selected

    def replaced(
        self, purpose: str, tokens: np.ndarray, selected: np.ndarray, keys: np.ndarray, counts: np.ndarray
    ) -> np.ndarray:
        """Tokens with the selected ones replaced: 80 % by the mask, 10 % by a random piece, 10 % as they are.

        Args:
            purpose: equal places get other numbers for another purpose.
            tokens: [sum of counts] of N pairs.
            selected: [sum of counts] bool.
            keys: [N] of pairs, from `pair_keys`.
            counts: [N] tokens of each.
        """
        numbers = self._uniform(f"{purpose} replaced", keys, counts)
        # Among the numbers from 0.9 on, how far a number is beyond says which piece.
        drawn = np.floor((numbers - _KEPT) / (1 - _KEPT) * len(self.pieces)).astype(np.int64)
        random = self.pieces[drawn.clip(0, len(self.pieces) - 1)]
        other = np.where(numbers < _MASKED, self.mask, np.where(numbers < _KEPT, tokens, random))
        return np.where(selected, other, tokens)

    def _uniform(self, purpose: str, keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """[sum of counts] numbers from 0 to 1, 1 excluded, for the places of N pairs."""
        name = hashlib.blake2b(f"{self.seed}:{self.epoch}:{purpose}".encode(), digest_size=8).digest()
        states = _mixed(keys ^ np.frombuffer(name, dtype="<u8").astype(np.uint64))
        places = counted(counts).astype(np.uint64) + np.uint64(1)
        return (_mixed(np.repeat(states, counts) + places * _STEP) >> np.uint64(11)) * 2.0**-53


def _words_to_mask(counts: np.ndarray) -> np.ndarray:
    share = np.maximum(1, np.rint(_RATE * counts))
    return np.maximum(1, np.minimum(np.floor(_MOST_WORDS * counts), share)).astype(np.int64)


def _mixed(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
