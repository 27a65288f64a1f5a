import hashlib
from dataclasses import replace

import numpy as np
import pytest

from raykd.tasks.parallel.masking import Masking, pair_keys

PLAIN = np.arange(10, 510)
MASK = 3
MASKING = Masking(MASK, PLAIN, seed=1, epoch=2)


def keys(number: int) -> np.ndarray:
    return pair_keys([f"pair-{index}" for index in range(number)])


def by_pair(flat: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(flat, np.cumsum(counts)[:-1])


def within(share: float, expected: float, trials: int) -> bool:
    """Whether a share is what a fair draw gives, five standard deviations at the most away."""
    return abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / trials)


def splitmix(state: int, number: int) -> list[int]:
    """The sequence of the published generator, with plain integers."""
    bits, numbers = 2**64 - 1, []
    for _ in range(number):
        state = (state + 0x9E3779B97F4A7C15) & bits
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & bits
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & bits
        numbers.append(mixed ^ (mixed >> 31))
    return numbers


def test_fifteen_percent_of_the_pieces_are_selected_independently():
    counts = np.full(2000, 100)
    selected = MASKING.selected_pieces(keys(2000), counts)
    assert within(selected.mean(), 0.15, len(selected))
    table = selected.reshape(2000, 100)
    # Neighbours in a pair, neighbouring pairs, and the ends of a pair: both selected as often as chance has it.
    for one, other in [(table[:, 1:], table[:, :-1]), (table[1:], table[:-1]), (table[:, :50], table[:, 50:])]:
        assert within((one & other).mean(), 0.15**2, one.size)
    # Binomial within a pair and across the pairs: the variances are n p (1 - p).
    for sums, trials in [(table.sum(1), 100), (table.sum(0), 2000)]:
        assert 0.5 < sums.var() / (trials * 0.15 * 0.85) < 1.6
    assert table.sum(0).min() > 0


@pytest.mark.parametrize("change", [{"seed": 2}, {"epoch": 3}, {"seed": 2, "epoch": 1}])
def test_another_seed_or_epoch_draws_masks_that_have_nothing_in_common(change):
    counts = np.full(500, 100)
    one, other = (masking.selected_pieces(keys(500), counts) for masking in (MASKING, replace(MASKING, **change)))
    assert within((one & other).mean(), 0.15**2, one.size)


def test_every_pair_has_a_selected_piece_and_any_of_them_may_be_it():
    counts = np.full(9000, 3)
    table = MASKING.selected_pieces(keys(9000), counts).reshape(-1, 3)
    assert table.any(axis=1).all()
    # Alone: one of three is 3 x 0.15 x 0.85**2, or none of three is 0.85**3.
    alone = 0.15 * 0.85**2 + 0.85**3 / 3
    for column in range(3):
        assert within((table[:, column] & (table.sum(1) == 1)).mean(), alone, 9000)


def test_words_are_as_many_as_the_formula_says_and_any_of_them():
    counts = np.arange(1, 121)
    selected = MASKING.selected_words(keys(120), counts)
    numbers = [int(part.sum()) for part in by_pair(selected, counts)]
    expected = [max(1, min(int(0.25 * words), max(1, round(0.15 * words)))) for words in range(1, 121)]
    assert numbers == expected
    assert [numbers[words - 1] for words in (1, 4, 9, 10, 12, 17, 20, 30, 100)] == [1, 1, 1, 2, 2, 3, 3, 4, 15]
    table = MASKING.selected_words(keys(6000), np.full(6000, 10)).reshape(-1, 10)
    assert all(within(share, 0.2, 6000) for share in table.mean(axis=0))
    assert within((table[:, 0] & table[:, 9]).mean(), 1 / 45, 6000)


def test_of_the_selected_pieces_most_are_masked_and_some_are_kept_or_random():
    counts = np.full(4000, 60)
    tokens = np.full(counts.sum(), 42)
    selected = MASKING.selected_pieces(keys(4000), counts)
    replaced = MASKING.replaced("pieces", tokens, selected, keys(4000), counts)
    assert (replaced[~selected] == 42).all()
    changed = replaced[selected]
    assert within((changed == MASK).mean(), 0.8, len(changed))
    assert within((changed == 42).mean(), 0.1 + 0.1 / len(PLAIN), len(changed))


def test_a_random_piece_is_any_but_a_special_token():
    counts = np.full(8000, 60)
    selected = np.ones(counts.sum(), dtype=bool)
    replaced = MASKING.replaced("pieces", np.full(counts.sum(), 42), selected, keys(8000), counts)
    random = replaced[(replaced != MASK) & (replaced != 42)]
    assert set(random.tolist()) == set(PLAIN.tolist()) - {42}
    assert within((random < 260).mean(), 249 / 499, len(random))


def test_what_replaces_a_piece_does_not_follow_from_its_selection_or_another_purpose():
    counts = np.full(4000, 60)
    tokens, everywhere = np.full(counts.sum(), 42), np.ones(counts.sum(), dtype=bool)
    selected = MASKING.selected_pieces(keys(4000), counts)
    one, other = (MASKING.replaced(name, tokens, everywhere, keys(4000), counts) == MASK for name in ("one", "other"))
    assert within(one[selected].mean(), 0.8, int(selected.sum()))
    assert within((one & other).mean(), 0.64, len(one))


def test_a_pair_has_its_masks_whatever_the_others_are():
    counts = np.random.default_rng(0).integers(1, 40, 50)
    all_keys, order = keys(50), np.random.default_rng(1).permutation(50)
    for method in (MASKING.selected_pieces, MASKING.selected_words):
        together, shuffled = by_pair(method(all_keys, counts), counts), method(all_keys[order], counts[order])
        for index, part in zip(order, by_pair(shuffled, counts[order]), strict=True):
            np.testing.assert_array_equal(part, together[index])
            np.testing.assert_array_equal(method(all_keys[[index]], counts[[index]]), part)


def test_numbers_are_those_of_splitmix64():
    """So masks are the same on every machine: a run that moves to another one goes on as it would have."""
    assert splitmix(0, 2) == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    key, purpose = (hashlib.blake2b(name, digest_size=8).digest() for name in (b"\xc3\xa9", b"1:2:pieces"))
    mixed = int.from_bytes(key, "little") ^ int.from_bytes(purpose, "little")
    # The state of a pair is what the generator would give right after the state that is a step before it.
    state = splitmix(mixed - 0x9E3779B97F4A7C15, 1)[0]
    numbers = [number / 2**64 for number in splitmix(state, 200)]
    selected = MASKING.selected_pieces(pair_keys(["\u00e9"]), np.array([200]))
    assert selected.tolist() == [number < 0.15 for number in numbers] and selected.sum() > 10
