"""Sweeps with a known best, and what a race makes of them.

python -m support.simulated_races [NUM]     # in tests/; figures of each regime over NUM sweeps, 1,000 by default
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from raykd.plan.sweep import Race
from raykd.report.examples import Examples
from raykd.report.race import Decision, Standing, race

NUM_SEEDS = 8
SEEDS = range(1, NUM_SEEDS + 1)
_ITEM = 1.2
"""Deviation of how hard items are: three in ten outcomes are 0 and four in ten 100, at a mean of 60."""
_POINT = 0.031
"""What moves the mean outcome by a point, where a third of the outcomes is neither."""

Effects = Callable[[np.random.Generator, int], np.ndarray]
"""True scores of so many configurations, less that of the best."""


def some_near_the_best(rng: np.random.Generator, num: int) -> np.ndarray:
    """Two equal best ones, two within 0.3 points of them, and the rest up to 6 points behind."""
    return np.concatenate([[0, 0, -0.1, -0.3], -rng.uniform(0.3, 6, num - 4)])


def one_ahead(rng: np.random.Generator, num: int) -> np.ndarray:
    """One best, a point ahead of the next; the rest up to 6 points behind, in equal pairs."""
    behind = np.repeat(rng.uniform(1, 6, num // 2 - 1), 2)
    return -np.concatenate([[0, 1], behind])


def many_near_the_best(rng: np.random.Generator, num: int) -> np.ndarray:
    """Half of them within 1 point of two equal best ones, half 3 to 6 points behind."""
    half = num // 2
    return -np.concatenate([[0, 0], rng.uniform(0, 1, half - 2), rng.uniform(3, 6, half)])


def all_equal(rng: np.random.Generator, num: int) -> np.ndarray:
    """No configuration is better than another."""
    return np.zeros(num)


@dataclass(frozen=True)
class Regime:
    """How sweeps come about.

    An outcome is a number from 0 to 100, cut from a normal one: the sum of the configuration's effect, how hard the
    item is, and chance of each kind below. Configurations of equal effects have equal true scores, the means over all
    seeds and items that could have been.

    Attributes:
        effects: true scores less 60, in points.
        seed: deviation of the true score over seeds, in points.
        both: deviation over trainings of what becomes of one item, beside 1.2 over items.
        taste: the same over configurations, of all trainings of one.
        uneven: deviation over configurations of the logarithm of `seed`.
        common_seed: deviation of what a seed does to all configurations, in points.
        num: of configurations.
        is_shared: all configurations meet the same hard and easy items. False: nothing is common but their number.
    """

    effects: Effects = some_near_the_best
    num_items: int = 200
    seed: float = 0.5
    both: float = 0.1
    taste: float = 0.05
    uneven: float = 0.0
    common_seed: float = 0.0
    is_shared: bool = True
    num: int = 24

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """[configurations, 8, items] outcomes, and [configurations] true scores."""
        true = 60 + self.effects(rng, self.num)
        shape = (self.num, NUM_SEEDS, self.num_items)
        over_seeds = _POINT * self.seed * np.exp(rng.normal(0, self.uneven, self.num))
        common = _POINT * self.common_seed
        spread = np.sqrt(_ITEM**2 + self.both**2 + self.taste**2 + over_seeds**2 + common**2)
        latent = _latent(true, spread)[:, None, None] + over_seeds[:, None, None] * rng.normal(size=(*shape[:2], 1))
        latent = latent + common * rng.normal(size=(1, NUM_SEEDS, 1))
        latent = latent + rng.normal(0, _ITEM, shape[2:] if self.is_shared else (self.num, 1, self.num_items))
        latent = latent + rng.normal(0, self.taste, (self.num, 1, self.num_items))
        return np.clip(100 * (latent + rng.normal(0, self.both, shape)), 0, 100), true


def _latent(true: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The mean of a normal number with this deviation whose cut at 0 and 1 has the true mean, in percent."""
    low, high = np.full(len(true), -5.0), np.full(len(true), 6.0)
    for _ in range(40):
        middle = (low + high) / 2
        first, last = -middle / spread, (1 - middle) / spread
        inside = middle * (ndtr(last) - ndtr(first))
        density = (np.exp(-(first**2) / 2) - np.exp(-(last**2) / 2)) / (2 * np.pi) ** 0.5
        mean = inside + spread * density + ndtr(-last)
        low, high = np.where(100 * mean < true, middle, low), np.where(100 * mean < true, high, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class Figures:
    """What became of a simulated race.

    Attributes:
        is_lost: no configuration is left whose true score is within the margin of the best true score.
        is_best_lost: none is left whose true score is the best. A race may end so: the margin was given up.
        is_told_apart: one went out against a leader whose true score was no better than its own.
        is_ended_wrongly: it ended by the margin with a leader more than that behind the best true score.
        share: points run, of all.
        behind: true score of the leader less the best one, in points, with the sign changed.
        behind_grid: the same of the best mean over the whole grid.
        num_left: configurations that were in at the end.
        reason: why it ended.
    """

    is_lost: bool
    is_best_lost: bool
    is_told_apart: bool
    is_ended_wrongly: bool
    share: float
    behind: float
    behind_grid: float
    num_left: int
    reason: str


def standings_of(outcomes: np.ndarray) -> list[Standing]:
    """[configurations, seeds, items] outcomes in one cell, as they are read from records."""
    items = tuple(f"{row:08x}" for row in range(outcomes.shape[2]))
    ones = np.ones((len(items), 1))
    counts = ones.astype(np.int64)
    return [
        Standing(
            f"configuration {number:02}",
            {seed: Examples(("en",), items, counts, values[:, None], ones) for seed, values in enumerate(own, start=1)},
        )
        for number, own in enumerate(outcomes)
    ]


def judged(decision: Decision, outcomes: np.ndarray, true: np.ndarray, settings: Race) -> Figures:
    """A race beside the truth."""
    place = {f"configuration {number:02}": number for number in range(len(true))}
    best = true.max()
    left = max(true[place[name]] for name in decision.going_on)
    leader = true[place[decision.leader or ""]]
    rounds = [decision.out.get(name, decision.rounds) for name in place]
    return Figures(
        is_lost=bool(left < best - settings.margin),
        is_best_lost=bool(left < best),
        is_told_apart=any(true[place[name]] >= true[place[decision.tests[name].leader]] for name in decision.out),
        is_ended_wrongly="better" in (decision.reason or "") and bool(leader < best - settings.margin),
        share=sum(rounds) / outcomes[..., 0].size,
        behind=float(best - leader),
        behind_grid=float(best - true[outcomes.mean(axis=(1, 2)).argmax()]),
        num_left=len(decision.going_on),
        reason=decision.reason or "",
    )


def simulated(regime: Regime, num: int, *, settings: Race | None = None, seed: int = 0) -> Iterator[Figures]:
    """Races over `num` sweeps; the same ones come every time."""
    settings = settings or Race()
    for number in range(num):
        outcomes, true = regime.draw(np.random.default_rng([seed, number]))
        yield judged(race(standings_of(outcomes), SEEDS, settings), outcomes, true, settings)


def seed_deviation(regime: Regime, num: int = 20) -> float:
    """Deviation of a configuration's score over seeds on the same items, chance at single items included."""
    drawn = (regime.draw(np.random.default_rng(number))[0] for number in range(num))
    return float(np.sqrt(np.mean([outcomes.mean(axis=2).var(axis=1, ddof=1).mean() for outcomes in drawn])))


REGIMES = {
    "ordinary": Regime(),
    "little seed noise": Regime(seed=0.3, both=0.05),
    "much seed noise": Regime(seed=1.0),
    "50 items": Regime(num_items=50),
    "400 items": Regime(num_items=400),
    "400 items, trainings differ more": Regime(num_items=400, both=0.3, taste=0.15),
    "items not shared": Regime(num_items=400, is_shared=False),
    "a seed moves all": Regime(common_seed=1.0),
    "uneven seed noise (x 1.35)": Regime(uneven=0.3),
    "one best, the rest in equal pairs": Regime(one_ahead),
    "many near the best": Regime(many_near_the_best),
    "all equal": Regime(all_equal),
    "all equal, little seed noise": Regime(all_equal, seed=0.3, both=0.05),
    "all equal, much seed noise": Regime(all_equal, seed=1.0),
    "all equal, 50 items": Regime(all_equal, num_items=50),
    "all equal, 400 items, trainings differ more": Regime(all_equal, num_items=400, both=0.3, taste=0.15),
    "all equal, items not shared": Regime(all_equal, num_items=400, is_shared=False),
    "all equal, a seed moves all": Regime(all_equal, common_seed=1.0),
    "all equal, uneven seed noise (x 1.35)": Regime(all_equal, uneven=0.3),
    "two alone, equal, much seed noise": Regime(all_equal, num=2, num_items=400, seed=1.0),
    "five alone, equal, much seed noise": Regime(all_equal, num=5, num_items=400, seed=1.0),
    "all equal, very uneven seed noise (x 1.8)": Regime(all_equal, uneven=0.6),
}


def main() -> None:
    """Print the figures of every regime as a table."""
    num = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    heads = "regime, seed sd, lost, best lost, told apart, ended wrongly, points run, left, leader behind (grid), ends"
    print(f"| {heads.replace(', ', ' | ')} |\n|{'---|' * (heads.count(',') + 1)}")
    start = time.monotonic()
    for name, regime in REGIMES.items():
        found = list(simulated(regime, num))
        percents = [
            f"{100 * np.mean([getattr(each, what) for each in found]):.1f} %"
            for what in ("is_lost", "is_best_lost", "is_told_apart", "is_ended_wrongly", "share")
        ]
        behind, grid, left = (
            np.mean([getattr(each, what) for each in found]) for what in ("behind", "behind_grid", "num_left")
        )
        ends = Counter("margin" if "better" in each.reason else each.reason for each in found)
        shown = ", ".join(f"{count} {what}" for what, count in ends.most_common())
        row = [name, f"{seed_deviation(regime):.2f}", *percents, f"{left:.1f}", f"{behind:.2f} ({grid:.2f})", shown]
        print(f"| {' | '.join(row)} |", flush=True)
    print(f"{num} sweeps a regime, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
