"""A race: configurations meet seeds in rounds, and those that lose to the leader beyond doubt are out.

The idea is that of Birattari et al. 2002 (F-Race) and Lopez-Ibanez et al. 2016 (irace). Their tests take one number for
each instance. Here a configuration is scored on few seeds and many items, and both are chance:

- Another seed gives another model. Two seeds say little of the variance over seeds, those of all configurations
  together say much: it is pooled, less the effects of configurations and of seeds (one may be lucky for all).
- Other items give another score. The chance of single trainings at single items is in the variance over seeds already,
  and falls with their number; that a configuration is better at some items than at others stays.

In the two-way layout of seeds and items (Cornfield and Tukey 1956) the variance of a difference over S seeds has two
parts: max(2 pooled, own) / S, and max(0, items - both). `pooled` is the variance of a score over seeds and `own` that
of this difference, so a pair that is noisier than the rest is not taken for a quiet one; `items` is the variance over
items of what is averaged over seeds; `both` is the part of it that the interaction of items and seeds makes.

The half width of an interval is the root of the sum of both parts, each times the square of its own quantile of
Student's t (Banerjee 1961). It holds its level where a part is known from two seeds alone; with degrees of freedom
worked out for the sum (Satterthwaite 1946), two equal configurations of no others were told apart too often.

The leader is chosen by the same scores, and tested again after each round. So a p-value is corrected for all pairs of
those that are in and for all rounds: it is the chance that among as many equal configurations any two are ever so far
apart. Holm's bound (1979) is the same step-down, the family shrinking as configurations go out, but takes nothing for
shared by pairs and by rounds; the chance itself (Romano and Wolf 2005) spares one point of a grid in seventy. In a
whole race, the chance that any configuration goes out that is no worse than its leader is then at most the level, if
the variance over seeds is about the same for all. `tests/report/test_race.py` simulates it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit

from raykd.plan.sweep import Race
from raykd.report.examples import Examples, ratio, read_examples
from raykd.results.configurations import DONE, Configuration, by_configuration
from raykd.results.records import PointRecord
from raykd.results.words import counted

_PARTS = ("numerators", "denominators")
_LEAST_TAIL = 1e-12
_NUM_DRAWS = 20_000


@dataclass(frozen=True)
class Standing:
    """What is known of a configuration.

    Attributes:
        examples: seed -> what its model made of the selection set.
        failed: seeds that were given up.
    """

    name: str
    examples: Mapping[int, Examples] = field(default_factory=dict)
    failed: frozenset[int] = frozenset()


def read_standings(configurations: Iterable[Configuration]) -> list[Standing]:
    """Standings of configurations whose points were read with their outcomes.

    A seed that was given up, and one that is over without outcomes behind its main score, count as failed.
    """
    found = []
    for each in configurations:
        examples, failed = {}, set()
        for point in each.points:
            seed = point.description.varied["seed"]
            main = point.scores.main if point.scores is not None else None
            if main and point.outcomes is not None and main in point.outcomes.scores:
                examples[seed] = read_examples(point.outcomes, main)
            elif point.status in DONE:
                failed.add(seed)
        found.append(Standing(each.name, examples, frozenset(failed)))
    return found


@dataclass(frozen=True)
class Lead:
    """How far the leader was ahead of a configuration in the last test of the two.

    Attributes:
        name: of the configuration.
        leader: of whom it was tested against.
        round: after which it was tested, from 1.
        difference: of the mean main scores over the seeds that both have, the leader's less its own, in points.
        low, high: interval of the difference; at the level, those of all tests of a race hold at once.
        p_value: two-sided, corrected for pairs and rounds. It is below the level where the interval leaves out 0.
        num_seeds: that both have.
        num_items: the items of the selection set.
    """

    name: str
    leader: str
    round: int
    difference: float
    low: float
    high: float
    p_value: float
    num_seeds: int
    num_items: int


@dataclass(frozen=True)
class Decision:
    """Where a race stands.

    Attributes:
        rounds: complete ones. In a complete round every configuration that was in has a result, or failed.
        leader: the one with the highest mean score of those with the most seeds; None before the first result.
        going_on: names of those that are in, the leader first, then the others by their mean score.
        out: name -> the round after which it went out, in that order.
        tests: name -> its last test, for all that were tested. One that is out without a test has no result at all.
        reason: why the race is over; None while it is not: then all of `going_on` meet seed number `rounds`, from 0.
    """

    rounds: int
    leader: str | None
    going_on: tuple[str, ...]
    out: Mapping[str, int]
    tests: Mapping[str, Lead]
    reason: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """All configurations of the race."""
        return (*self.going_on, *self.out)


def race(standings: Sequence[Standing], seeds: Sequence[int], settings: Race) -> Decision:
    """Where a race stands, from all results that there are.

    Every round is decided again from the seeds up to it, so the same results give the same decisions whenever they are
    asked for, and results that came too early change nothing. With other `seeds` or settings it is another race.

    A round is decided from `min_seeds` on, where there are `min_items` items. After it
    - those are out that the leader is ahead of beyond doubt, and those without any result;
    - the race is over when one is left; when none of the rest is more than `margin` points better than the leader, by
      the one-sided bound of each at the level (all bounds have to hold, so none is corrected for the others: Berger
      1982); and when all seeds are done.

    Two are compared over the seeds that both have; with fewer than `min_seeds` of them neither goes out.

    Args:
        standings: of all configurations, in any order.
        seeds: of the sweep, in the order in which they are run.

    Raises:
        ValueError: if models were scored on different examples.
    """
    table = _Table(standings, seeds)
    going_on = np.arange(len(table.names))
    out: dict[str, int] = {}
    tests: dict[str, Lead] = {}
    reason, rounds = None, 0
    while reason is None and rounds < len(seeds) and table.is_over[going_on, rounds].all():
        rounds += 1
        going_on, losers, is_close = _round(table, going_on, rounds, settings, tests)
        out |= dict.fromkeys(losers, rounds)
        table.forget(losers, rounds)
        if len(going_on) < 2:
            reason = "one is left"
        elif is_close:
            reason = f"none of the rest is more than {settings.margin:g} points better"
        elif rounds == len(seeds):
            reason = "all seeds are done"
    names = tuple(table.names[each] for each in going_on)
    has_result = len(going_on) > 0 and table.is_there[going_on[0], :rounds].any()
    return Decision(rounds, names[0] if has_result else None, names, out, tests, reason)


def decide(points: Iterable[PointRecord], seeds: Sequence[int], settings: Race) -> dict[Any, Decision]:
    """Where the races of a sweep stand: budget -> decision.

    What is best with many items is no answer for few, so each budget has a race of its own.

    Args:
        points: all of the sweep, read with their outcomes.
        seeds, settings: as `race` has them.
    """
    groups: dict[Any, list[Configuration]] = {}
    for each in by_configuration(points):
        groups.setdefault(each.settings.budget, []).append(each)
    return {budget: race(read_standings(members), seeds, settings) for budget, members in groups.items()}


def why_out(name: str, decision: Decision) -> str | None:
    """Why a configuration gets no further seed, in a line; None while it does."""
    lead = decision.tests.get(name)
    if name in decision.out:
        after = f"out of the race after {counted(decision.out[name], 'seed')}"
        if lead is None:
            return f"{after}: no seed of it has a result"
        p_value = "p < 0.001" if lead.p_value < 0.001 else f"p = {lead.p_value:.3f}"
        return f"{after}: {lead.difference:.1f} points behind {lead.leader} ({p_value})"
    return f"the race is over after {counted(decision.rounds, 'seed')}: {decision.reason}" if decision.reason else None


class _Table:
    """Configurations, seeds and items, with what each item adds to a score.

    Attributes:
        names: of the C configurations, sorted.
        is_there: [C, S], whether there is a result.
        is_over: [C, S], whether there is one or none will come.
        shares: [C, S, I], in points; a score is the sum of its items' shares, plus a number that is the same for all.
            0 where there is no result.
    """

    def __init__(self, standings: Sequence[Standing], seeds: Sequence[int]) -> None:
        ordered = sorted(standings, key=lambda each: each.name)
        self.names = [each.name for each in ordered]
        assert len(set(self.names)) == len(self.names), "two configurations of one name"
        self.is_there = np.array([[seed in each.examples for seed in seeds] for each in ordered], dtype=bool)
        self.is_there = self.is_there.reshape(len(ordered), len(seeds))
        is_failed = np.array([[seed in each.failed for seed in seeds] for each in ordered], dtype=bool)
        self.is_over = self.is_there | is_failed.reshape(self.is_there.shape)
        # By seed, so that what the shares are measured from is known after the first one.
        places = [(row, column) for column, row in zip(*np.nonzero(self.is_there.T), strict=True)]
        models = [ordered[row].examples[seeds[column]] for row, column in places]
        if any(not model.matches(models[0]) for model in models):
            raise ValueError("standings: scored on different examples; only the same ones can be compared")
        self.shares = np.zeros((*self.is_there.shape, len(models[0].items) if models else 0))
        first = [model for model, (_, column) in zip(models, places, strict=True) if column == places[0][1]]
        common = ratio(*(sum(getattr(each, part).sum(axis=0) for each in first) for part in _PARTS)) if first else 0.0
        for place, model in zip(places, models, strict=True):
            gains = model.numerators - common * model.denominators
            self.shares[place] = ratio(gains, model.denominators.sum(axis=0)).mean(axis=1)
        self.scores = self.shares.sum(axis=2)

    def forget(self, names: Sequence[str], num_seeds: int) -> None:
        """Leave out what comes of configurations after these seeds: it may come late, and nothing may change by it."""
        self.is_there[[self.names.index(name) for name in names], num_seeds:] = False

    def pooled_variance(self, num_seeds: int) -> tuple[float, int]:
        """Variance of a score over the first seeds, net of the effects of configurations and seeds, and its degrees."""
        rows, columns = np.nonzero(self.is_there[:, :num_seeds])
        effects = np.hstack([np.eye(len(self.names))[rows], np.eye(num_seeds)[columns]])
        scores = self.scores[rows, columns]
        found, _, rank, _ = np.linalg.lstsq(effects, scores, rcond=None)
        degrees = len(scores) - int(rank)
        return float(((scores - effects @ found) ** 2).sum()) / max(degrees, 1), degrees


def _round(
    table: _Table, going_on: np.ndarray, rounds: int, settings: Race, tests: dict[str, Lead]
) -> tuple[np.ndarray, list[str], bool]:
    """Decide a round: who is in after it, the leader first; who is out; whether none of the rest is much better."""
    there = table.is_there[:, :rounds]
    num = there.sum(axis=1)
    means = ratio(table.scores[:, :rounds].sum(axis=1), num)
    most = num[going_on].max(initial=0)
    # As on a leaderboard: with fewer seeds than others none leads by a lucky one.
    rest = np.array(sorted(going_on, key=lambda each: (num[each] < most, -means[each], each)), dtype=int)
    if rounds < settings.min_seeds:
        return rest, [], False
    losers = [table.names[each] for each in rest if not num[each]]
    rest = rest[num[rest] > 0]
    num_items = table.shares.shape[2]
    pooled, degrees = table.pooled_variance(rounds)
    if num_items < settings.min_items or not degrees:
        return rest, losers, False
    apart = _farthest(len(rest), settings.min_seeds, table.is_there.shape[1])
    tail = float(ndtr(-np.quantile(apart, 1 - settings.level)))
    stays, is_close = [True] * len(rest), True
    for place, each in enumerate(rest[1:], start=1):
        both = there[rest[0]] & there[each]
        if both.sum() < settings.min_seeds:
            is_close = False
            continue
        leader, own = (table.shares[one, :rounds][both] for one in (rest[0], each))
        gap = _Gap.between(leader, own, pooled, degrees)
        reach = gap.reach(tail)
        low, high = gap.difference - reach, gap.difference + reach
        p_value = 1 - float(np.searchsorted(apart, -ndtri(gap.tail))) / (len(apart) + 1)
        name, ahead_of = table.names[each], table.names[rest[0]]
        tests[name] = Lead(name, ahead_of, rounds, gap.difference, low, high, p_value, int(both.sum()), num_items)
        if low > 0:
            stays[place] = False
            losers.append(name)
        else:
            is_close &= gap.difference - gap.reach(settings.level) >= -settings.margin
    return rest[stays], losers, is_close


@cache
def _farthest(num: int, min_seeds: int, num_seeds: int) -> np.ndarray:
    """[draws], rising: the farthest that any two of `num` equal configurations are ever apart, in standard errors.

    Their scores are normal, and new with every seed. What items add is the same in all rounds: so much less happens.
    """
    rng = np.random.default_rng(0)
    sums = np.zeros((_NUM_DRAWS, num), dtype=np.float32)
    found = np.zeros(_NUM_DRAWS)
    for seeds in range(1, num_seeds + 1):
        sums += rng.standard_normal(sums.shape, dtype=np.float32)
        if seeds >= min_seeds:
            found = np.maximum(found, np.ptp(sums, axis=1) / (2 * seeds) ** 0.5)
    return np.sort(found)


@dataclass(frozen=True)
class _Gap:
    """A difference of two configurations in points, and what it is known to, see the module.

    Attributes:
        by_seeds, by_items: standard errors, of seeds and of items.
        seed_degrees, item_degrees: their degrees of freedom.
    """

    difference: float
    by_seeds: float
    by_items: float
    seed_degrees: int
    item_degrees: int

    @classmethod
    def between(cls, first: np.ndarray, second: np.ndarray, pooled: float, degrees: int) -> "_Gap":
        """The first less the second.

        Args:
            first, second: [S, I], see `_Table.shares`; S and I are at least 2.
            pooled, degrees: see `_Table.pooled_variance`.
        """
        shares = first - second
        num_seeds, num_items = shares.shape
        of_items = shares.mean(axis=0)
        by_seeds = max(2 * pooled, float(shares.sum(axis=1).var(ddof=1))) / num_seeds
        apart = shares - of_items
        apart -= apart.mean(axis=1, keepdims=True)
        by_both = num_items * float((apart**2).sum()) / (num_items - 1) / (num_seeds - 1) / num_seeds
        by_items = max(0.0, num_items * float(of_items.var(ddof=1)) - by_both)
        return cls(float(of_items.sum()), by_seeds**0.5, by_items**0.5, degrees, num_items - 1)

    def reach(self, tail: float) -> float:
        """How far the true difference may be to one side, but for a chance of `tail`, at most 0.5."""
        seeds, items = (-float(stdtrit(degrees, tail)) for degrees in (self.seed_degrees, self.item_degrees))
        return math.hypot(seeds * self.by_seeds, items * self.by_items)

    @property
    def tail(self) -> float:
        """The chance whose reach the difference is; none is below `_LEAST_TAIL`."""
        wanted = abs(self.difference)
        if not wanted:
            return 0.5
        if self.reach(_LEAST_TAIL) <= wanted:
            return _LEAST_TAIL
        found = brentq(lambda log: self.reach(math.exp(log)) - wanted, math.log(_LEAST_TAIL), math.log(0.5))
        return math.exp(found)
