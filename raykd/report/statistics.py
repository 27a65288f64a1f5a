"""Statistics of results: intervals over seeds, and tests of paired differences over examples.

Two questions, two answers. Whether training once more would give such a score again: the interval over seeds. Whether
these very models would differ on other questions as well: the tests over examples, which hold the models fixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from raykd.report.examples import Examples, ratio

NUM_RESAMPLES = 9999
_AT_ONCE = 1 << 19
"""Numbers that a block of resamples holds."""


@dataclass(frozen=True)
class Interval:
    """A mean and how far it can be trusted.

    Attributes:
        mean: None without a value.
        deviation: the sample one; None below two values.
        low, high: bounds of the confidence interval of the mean; None below two values.
        num: number of values.
    """

    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None
    num: int


@dataclass(frozen=True)
class Paired:
    """What the examples say of the difference of two models, the first less the second.

    Attributes:
        difference: of the scores, in percent points.
        low, high: bounds of its bootstrap interval.
        p_bootstrap, p_wilcoxon: two-sided, see `exchange_test` and `wilcoxon_test`.
        num_items: the units of both tests.
    """

    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_wilcoxon: float
    num_items: int


def confidence_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean, sample deviation and Student's t interval of the mean, for few values such as seeds.

    Args:
        values: any unit; taken for independent and about normal.
        level: share of intervals that hold the true mean, between 0 and 1.

    Raises:
        ValueError: if the level is not between 0 and 1.
    """
    _check_level(level)
    num = len(values)
    mean = float(np.mean(values)) if num else None
    if num < 2:
        return Interval(mean, None, None, None, num)
    deviation = float(np.std(values, ddof=1))
    reach = float(stats.t.ppf((1 + level) / 2, num - 1)) * deviation / num**0.5
    return Interval(mean, deviation, mean - reach, mean + reach, num)


def paired_tests(
    models: Sequence[Examples],
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[Paired]:
    """Differences of pairs of models, or of groups of them such as one model for each seed.

    The units are items, drawn with all their cells at once, see `Examples`; those of cells that share no item are drawn
    apart. Several models on a side are one: their scores are averaged, and so are their outcomes on each item.

    The interval is the percentile one of the paired bootstrap: all models are scored on the same resamples of the
    items, F1 anew on each of them. The p-values come from tests under the null hypothesis, which hold their level for
    few items too, where a percentile bootstrap would not.

    Args:
        models: scored on the same examples.
        pairs: for each comparison the models of the first and of the second side, as indices.
        level: of the intervals.
        num_resamples: also the resolution of the bootstrap's p-value: none is below 1 / (num_resamples + 1).
        seed: of the resamples; the same numbers come out every time.

    Raises:
        ValueError: if the models were scored on different examples, or the level is not between 0 and 1.
    """
    _check_level(level)
    if any(not model.matches(models[0]) for model in models):
        raise ValueError("models: scored on different examples; only the same ones make a pair")
    if not pairs:
        return []
    scores = resampled_scores(models, num_resamples=num_resamples, seed=seed)
    tails = [50 * (1 - level), 50 * (1 + level)]
    parts = np.stack([shares(*([models[each] for each in side] for side in pair)) for pair in pairs], axis=1)
    found = exchange_test(parts, num_resamples=num_resamples, seed=seed)
    results = []
    for number, (first, second) in enumerate(pairs):
        low, high = np.percentile(scores[:, first].mean(axis=1) - scores[:, second].mean(axis=1), tails)
        one, other = (float(np.mean([models[each].score for each in side])) for side in (first, second))
        p_wilcoxon = wilcoxon_test(parts[:, number])
        results.append(
            Paired(one - other, float(low), float(high), float(found[number]), p_wilcoxon, len(models[0].items))
        )
    return results


def resampled_scores(models: Sequence[Examples], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> np.ndarray:
    """[num_resamples, models]: the score of each model on samples of the items, drawn with replacement.

    Resample i is the same for all models.
    """
    rng = np.random.default_rng(seed)
    # Of a mean, the denominators are counts, and those are the same for all.
    is_shared = all(np.array_equal(model.denominators, models[0].denominators) for model in models)
    sums = np.zeros((num_resamples, len(models)))
    for rows, columns in models[0].strata():
        tops, bottoms = (
            np.stack([getattr(model, name)[np.ix_(rows, columns)] for model in chosen], axis=1)
            for name, chosen in (("numerators", models), ("denominators", models[:1] if is_shared else models))
        )
        for start, size in _blocks(num_resamples, len(rows)):
            drawn = rng.integers(0, len(rows), (size, len(rows))) + len(rows) * np.arange(size)[:, None]
            times = np.bincount(drawn.ravel(), minlength=size * len(rows)).reshape(size, -1).astype(float)
            cells = ratio(np.tensordot(times, tops, 1), np.tensordot(times, bottoms, 1))
            sums[start : start + size] += cells.sum(axis=2)
    return sums / len(models[0].cells)


def shares(first: Sequence[Examples], second: Sequence[Examples]) -> np.ndarray:
    """[C]: what each item adds to the difference of two sides, in percent points, first less second.

    Outcomes of the models of a side are averaged (of F1, its counts). A cell's difference of means is exactly the sum
    of its items' shares. For F1 an item counts by what it adds beyond the score that both sides have together; the sum
    is then the difference but for the square of how unequal the two numbers of predictions are. Exchanging the two
    sides' outcomes on an item changes the sign of its share, and nothing else.
    """
    tops, bottoms = (
        [np.mean([getattr(model, name) for model in side], axis=0) for side in (first, second)]
        for name in ("numerators", "denominators")
    )
    totals = (bottoms[0] + bottoms[1]).sum(axis=0)
    common = ratio((tops[0] + tops[1]).sum(axis=0), totals)
    gains = (tops[0] - tops[1]) - common * (bottoms[0] - bottoms[1])
    # What is equal but for the last bits is equal: ranks and zeros depend on it.
    found = ratio(2 * gains, totals).mean(axis=1)
    largest = np.abs(found).max(initial=0.0)
    return np.round(found / largest, 10) * largest if largest else found


def exchange_test(parts: np.ndarray, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> np.ndarray:
    """Two-sided p-values of the hypothesis that it does not matter which side an item's outcome came from.

    The bootstrap with the null hypothesis imposed (the wild bootstrap with Rademacher's two-point weights, Davidson and
    Flachaire 2008, which for paired outcomes is approximate randomisation, Noreen 1989): the two outcomes of each item
    are exchanged with probability one half, and p is the share of such worlds whose difference is at least as large.
    Where items are exchangeable it holds its level exactly, however few there are.

    Args:
        parts: [C, M], shares of C items in M comparisons, see `shares`.

    Returns:
        [M], from 1 / (num_resamples + 1) to 1.
    """
    rng = np.random.default_rng(seed)
    num_items, wanted = len(parts), np.abs(parts.sum(axis=0)) * (1 - 1e-9)
    hits = np.zeros(parts.shape[1], dtype=np.int64)
    for _, size in _blocks(num_resamples, num_items):
        signs = rng.integers(0, 2, (size, num_items)) * 2.0 - 1.0
        hits += (np.abs(signs @ parts) >= wanted).sum(axis=0)
    return (hits + 1) / (num_resamples + 1)


def wilcoxon_test(parts: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test over items' shares [C] in a difference.

    Shares of 0 take part in the ranking and are then left out (Pratt 1959): leaving them out before would make much of
    two models that differ in a few items alone. 1 where all shares are 0.
    """
    return float(stats.wilcoxon(parts, zero_method="pratt").pvalue) if parts.any() else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of a family, corrected so that the chance of any false finding stays at the level (Holm 1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none becomes smaller than one before it, or
    larger than 1. Nothing is assumed of how they depend on each other.
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values, kind="stable")
    raised = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(raised, 1.0)
    return corrected.tolist()


def _blocks(num_resamples: int, num_items: int) -> list[tuple[int, int]]:
    """Start and size of blocks of resamples that fit into memory."""
    step = max(1, _AT_ONCE // max(num_items, 1))
    return [(start, min(step, num_resamples - start)) for start in range(0, num_resamples, step)]


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}; it must be between 0 and 1")
