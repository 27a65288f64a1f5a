"""Which sentence pairs an epoch of several languages consists of, and in which order."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal

from raykd.data.budgets import Budget, select
from raykd.data.examples import SentencePair
from raykd.errors import DataError


def draw_pairs(
    pairs: Mapping[str, Sequence[SentencePair]], *, budget: int | Literal["all"], seed: int
) -> tuple[dict[str, list[SentencePair]], dict[str, Budget]]:
    """`budget` pairs of each language in their order, and what was drawn; smaller budgets are within larger ones.

    Raises:
        DataError: if a language has fewer pairs than the budget; all such languages at once.
    """
    chosen: dict[str, list[SentencePair]] = {}
    budgets: dict[str, Budget] = {}
    problems: list[str] = []
    for language, members in pairs.items():
        try:
            budgets[language] = select([pair.id for pair in members], budget, seed=seed)
        except DataError as error:
            problems.append(f"{language}: {error}")
            continue
        drawn = set(budgets[language].ids)
        chosen[language] = [pair for pair in members if pair.id in drawn]
    if problems:
        raise DataError(problems)
    return chosen, budgets


def mix(
    pairs: Mapping[str, Sequence[SentencePair]],
    *,
    mixing: Literal["round_robin", "sampled"],
    exponent: float,
    identity: bool,
    seed: int,
    epoch: int,
) -> list[SentencePair]:
    """The pairs of one epoch, in order; the same arguments give the same pairs on every machine.

    "round_robin" is the mix of MMKD's released code (arXiv 2211.01200): the languages in turn, each in a shuffled order
    of its own, until the longest runs out. Every pair comes once, and every epoch is the same.

    "sampled" has as many pairs, of which a language with n gets a share proportional to n ** exponent, rounded by
    largest remainder; the languages come in random order. A language goes through all its pairs before one comes
    again, over the bounds of epochs, and then in another order. So an id may come several times.

    Args:
        pairs: language -> its pairs, at least one; the order of the languages does not matter, that of pairs does.
        mixing: as above.
        exponent: 1: as many pairs as there are; 0: as many of each language. Of "sampled" alone.
        identity: after as many pairs as there are languages (in "round_robin": after each turn), one English sentence
            with itself, from the languages in turn: the k-th such pair is from language k mod their number. Its id is
            `en:` and that of the pair it is from.
        seed: of all orders.
        epoch: from 0; of "sampled" alone.

    Raises:
        ValueError: if there is no language, a language has no pair, or the mixing is unknown.
    """
    if not pairs or not all(pairs.values()):
        raise ValueError(f"each language needs a pair, got { ({name: len(pairs[name]) for name in sorted(pairs)}) }")
    ordered = {language: pairs[language] for language in sorted(pairs)}
    if mixing == "round_robin":
        return _round_robin(ordered, identity=identity, seed=seed)
    if mixing == "sampled":
        return _sampled(ordered, exponent=exponent, identity=identity, seed=seed, epoch=epoch)
    raise ValueError(f"unknown mixing {mixing!r}; allowed: round_robin, sampled")


def _round_robin(pairs: Mapping[str, Sequence[SentencePair]], *, identity: bool, seed: int) -> list[SentencePair]:
    orders = _first_orders(pairs, seed)
    mixed: list[SentencePair] = []
    for turn in range(max(map(len, orders))):
        mixed += [order[turn] for order in orders if turn < len(order)]
        if identity:
            mixed.append(_identity_pair(orders, turn))
    return mixed


def _sampled(
    pairs: Mapping[str, Sequence[SentencePair]], *, exponent: float, identity: bool, seed: int, epoch: int
) -> list[SentencePair]:
    counts = _counts({language: len(members) for language, members in pairs.items()}, exponent)
    streams = {
        language: iter(_stretch(members, language, start=epoch * counts[language], count=counts[language], seed=seed))
        for language, members in pairs.items()
    }
    drawn = [language for language, count in counts.items() for _ in range(count)]
    random.Random(f"mixing:{seed}:epoch {epoch}").shuffle(drawn)
    orders, turns = _first_orders(pairs, seed), len(drawn) // len(pairs)
    mixed: list[SentencePair] = []
    for number, language in enumerate(drawn, 1):
        mixed.append(next(streams[language]))
        turn, rest = divmod(number, len(pairs))
        if identity and not rest:
            mixed.append(_identity_pair(orders, epoch * turns + turn - 1))
    return mixed


def _counts(sizes: Mapping[str, int], exponent: float) -> dict[str, int]:
    """The sum of the sizes, shared out by size ** exponent; what rounding leaves goes to the largest remainders."""
    # Fractions: the sum of the shares is exact, and a remainder does not depend on the order of adding.
    weights = {language: Fraction(size**exponent) for language, size in sizes.items()}
    total, whole = sum(sizes.values()), sum(weights.values())
    shares = {language: total * weight / whole for language, weight in weights.items()}
    counts = {language: int(share) for language, share in shares.items()}
    by_remainder = sorted(sizes, key=lambda language: (counts[language] - shares[language], language))
    for language in by_remainder[: total - sum(counts.values())]:
        counts[language] += 1
    return counts


def _stretch(
    members: Sequence[SentencePair], language: str, *, start: int, count: int, seed: int
) -> list[SentencePair]:
    """A part of the endless stream of a language: all its pairs shuffled, all of them shuffled again, and so on."""
    first_round, offset = divmod(start, len(members))
    num_rounds = -(-(offset + count) // len(members))
    stream = [
        pair
        for number in range(first_round, first_round + num_rounds)
        for pair in _shuffled(members, language, number, seed)
    ]
    return stream[offset : offset + count]


def _first_orders(pairs: Mapping[str, Sequence[SentencePair]], seed: int) -> list[list[SentencePair]]:
    return [_shuffled(members, language, 0, seed) for language, members in pairs.items()]


def _shuffled(members: Sequence[SentencePair], language: str, number: int, seed: int) -> list[SentencePair]:
    order = list(members)
    # A string seeds by its SHA-512: hash(), which differs between processes, has no say.
    random.Random(f"mixing:{seed}:{language}:{number}").shuffle(order)
    return order


def _identity_pair(orders: Sequence[Sequence[SentencePair]], turn: int) -> SentencePair:
    order = orders[turn % len(orders)]
    pair = order[turn % len(order)]
    return replace(pair, id=f"en:{pair.id}", language="en", other=pair.english)
