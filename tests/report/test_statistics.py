"""Statistics against scipy on the same numbers, against brute force, and in simulations of what they promise."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from raykd.report.examples import Examples, read_examples
from raykd.report.statistics import (
    Interval,
    confidence_interval,
    exchange_test,
    holm,
    paired_tests,
    resampled_scores,
    shares,
    wilcoxon_test,
)
from raykd.results.points import PointOutcomes
from raykd.tasks.outcomes import record_outcomes

LEVEL = 0.05


def of_mean(values: np.ndarray) -> Examples:
    """[C, K]: the same items in K cells."""
    items, cells = [f"item {row}" for row in range(len(values))], [f"cell {each}" for each in range(values.shape[1])]
    return Examples(
        tuple(cells), tuple(items), np.ones(values.shape, dtype=int), values.astype(float), np.ones(values.shape)
    )


def of_f1(counts: np.ndarray) -> Examples:
    """[C, 3] counts of a cell: true positives, predicted, gold."""
    outcomes = {"a": ([str(row) for row in range(len(counts))], counts.tolist())}
    return read_examples(record_outcomes(outcomes, statistic="f1", unit="sentence", scores={"f1": ["a"]}), "f1")


def f1_of(counts: np.ndarray, axis: int = 0) -> np.ndarray:
    hits, predicted, gold = np.moveaxis(counts.sum(axis=axis), -1, 0)
    return 200 * hits / (predicted + gold)


def tagged(rng: np.random.Generator, num: int, *, skill: float | np.ndarray = 0.6) -> np.ndarray:
    """[num, 3] counts of sentences, of which some have no entity."""
    gold = rng.poisson(1.5, num)
    hits = rng.binomial(gold, skill)
    return np.stack([hits, hits + rng.poisson(0.4, num), gold], axis=1)


# Intervals over seeds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("values", [[61.5, 63.25], [60.0, 62.0, 67.0], [3.0, 3.0, 3.0, 3.5, 9.0]])
def test_the_interval_over_seeds_is_students(values, level):
    found = confidence_interval(values, level)
    expected = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.deviation, found.num) == (np.mean(values), np.std(values, ddof=1), len(values))


def test_too_few_seeds_have_no_interval():
    assert confidence_interval([]) == Interval(None, None, None, None, 0)
    assert confidence_interval([61.5]) == Interval(61.5, None, None, None, 1)
    with pytest.raises(ValueError, match=r"level: got 95"):
        confidence_interval([1.0, 2.0], 95)


# The bootstrap ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_cells", [1, 3])
def test_the_interval_of_a_difference_of_means_is_scipys(num_cells):
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0, 100, (40, num_cells)), rng.uniform(0, 90, (40, num_cells))
    (found,) = paired_tests([of_mean(first), of_mean(second)], [([0], [1])], num_resamples=2000, seed=7, level=0.9)
    expected = stats.bootstrap(
        (first.mean(axis=1), second.mean(axis=1)),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        paired=True,
        method="percentile",
        confidence_level=0.9,
        n_resamples=2000,
        rng=np.random.default_rng(7),
    ).confidence_interval
    assert found.difference == pytest.approx(first.mean() - second.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_a_difference_of_f1_is_scipys():
    rng = np.random.default_rng(1)
    first, second = tagged(rng, 60, skill=0.7), tagged(rng, 60, skill=0.5)
    (found,) = paired_tests([of_f1(first), of_f1(second)], [([0], [1])], num_resamples=2000, seed=7)
    # Rows are looked up by their sorted names.
    order = np.array(sorted(range(60), key=lambda row: of_f1(first).items.index(of_f1_key(row))))
    expected = stats.bootstrap(
        (order,),
        lambda rows, axis: f1_of(first[rows], axis=-2) - f1_of(second[rows], axis=-2),
        method="percentile",
        n_resamples=2000,
        rng=np.random.default_rng(7),
    ).confidence_interval
    assert found.difference == pytest.approx(f1_of(first) - f1_of(second))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def of_f1_key(row: int) -> str:
    outcomes = record_outcomes({"a": ([str(row)], [[0, 0, 0]])}, statistic="f1", unit="sentence", scores={})
    (key,) = outcomes.items.values()
    return key


def test_cells_that_say_the_same_again_are_no_further_evidence():
    rng = np.random.default_rng(2)
    first, second = rng.uniform(0, 100, (2, 30, 1))
    once = paired_tests([of_mean(first), of_mean(second)], [([0], [1])], num_resamples=500)
    nine = paired_tests(
        [of_mean(np.repeat(first, 9, axis=1)), of_mean(np.repeat(second, 9, axis=1))], [([0], [1])], num_resamples=500
    )
    assert vars(nine[0]) == pytest.approx(vars(once[0]))


def test_cells_without_a_common_item_are_resampled_apart():
    rng = np.random.default_rng(3)
    values = {"de": rng.uniform(0, 100, 50), "fr": rng.uniform(0, 20, 200)}
    cells = {cell: ([f"{cell} {row}" for row in range(len(each))], each.tolist()) for cell, each in values.items()}
    outcomes = record_outcomes(cells, statistic="mean", unit="sentence", scores={"both": ["de", "fr"]})
    written = json.loads(json.dumps(PointOutcomes(outcomes).to_json()))
    examples = read_examples(PointOutcomes.from_json(written, where="outcomes.json").outcomes, "both")
    assert [(len(rows), columns.tolist()) for rows, columns in examples.strata()] == [(50, [0]), (200, [1])]
    scores = resampled_scores([examples], num_resamples=20_000)[:, 0]
    expected = np.sqrt(sum(each.var() / len(each) for each in values.values())) / 2
    assert scores.std() == pytest.approx(expected, rel=0.02)
    assert scores.mean() == pytest.approx(examples.score, abs=0.05)


def test_cells_that_share_some_items_are_drawn_together():
    cells = {"en-de": (["a", "b", "c"], [100, 0, 50]), "de-en": (["c", "a"], [0, 100]), "fr-fr": (["z"], [10])}
    outcomes = record_outcomes(cells, statistic="mean", unit="question", scores={"all": list(cells)})
    examples = read_examples(outcomes, "all")
    assert sorted((len(rows), columns.tolist()) for rows, columns in examples.strata()) == [(1, [2]), (3, [0, 1])]
    assert examples.score == pytest.approx((50 + 50 + 10) / 3)


def test_blocks_of_resamples_do_not_change_them(monkeypatch):
    rng = np.random.default_rng(4)
    pair = [of_mean(rng.uniform(0, 100, (20, 2))) for _ in range(2)]
    whole = paired_tests(pair, [([0], [1])], num_resamples=300)
    monkeypatch.setattr("raykd.report.statistics._AT_ONCE", 70)
    assert vars(paired_tests(pair, [([0], [1])], num_resamples=300)[0]) == pytest.approx(vars(whole[0]))


def test_models_of_other_examples_are_refused():
    first = of_mean(np.ones((3, 1)))
    with pytest.raises(ValueError, match="different examples"):
        paired_tests([first, of_mean(np.ones((4, 1)))], [([0], [1])])


# Tests of a difference ----------------------------------------------------------------------------------------------


def test_the_exchange_test_is_the_permutation_test_of_scipy():
    rng = np.random.default_rng(5)
    first, second = rng.uniform(0, 100, (12, 2)), rng.uniform(-10, 90, (12, 2))
    expected = stats.permutation_test(
        (first.mean(axis=1), second.mean(axis=1)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
    ).pvalue
    parts = shares([of_mean(first)], [of_mean(second)])[:, None]
    assert 0.02 < expected < 0.5
    assert exchange_test(parts, num_resamples=200_000) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("ties", [False, True])
def test_wilcoxons_test_is_scipys_on_the_mean_over_an_items_cells(ties):
    rng = np.random.default_rng(6)
    first, second = rng.uniform(0, 100, (2, 80, 3))
    if ties:
        first, second = np.round(first, -2), np.round(second, -2)
    (found,) = paired_tests([of_mean(first), of_mean(second)], [([0], [1])], num_resamples=9)
    differences = np.round((first - second).mean(axis=1), 9)
    assert (differences == 0).any() == ties
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(differences, zero_method="pratt").pvalue)


@given(st.integers(1, 2**32 - 1), st.integers(1, 3), st.integers(1, 3))
def test_shares_of_means_add_up_to_the_difference_over_any_seeds(seed, num_first, num_second):
    rng = np.random.default_rng(seed)
    sides = [[of_mean(rng.uniform(0, 100, (9, 2))) for _ in range(num)] for num in (num_first, num_second)]
    expected = np.mean([each.score for each in sides[0]]) - np.mean([each.score for each in sides[1]])
    found = shares(*sides)
    # Each is rounded to the tenth digit of the largest.
    assert found.sum() == pytest.approx(expected, rel=0, abs=0.51e-10 * len(found) * np.abs(found).max())


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**6 - 1))
def test_exchanging_an_items_counts_changes_the_sign_of_its_share_alone(seed, exchanged):
    rng = np.random.default_rng(seed)
    first, second = tagged(rng, 6), tagged(rng, 6, skill=0.4)
    rows = np.array([int(of_f1_key(row), 16) for row in range(6)]).argsort()
    where = (exchanged >> np.arange(6) & 1).astype(bool)
    before = shares([of_f1(first)], [of_f1(second)])
    swapped = [np.where(where[:, None], a, b) for a, b in ((second, first), (first, second))]
    after = shares(*([of_f1(each)] for each in swapped))
    assert after == pytest.approx(np.where(where[rows], -before, before))


def test_shares_of_f1_add_up_to_the_difference_but_for_unequal_predictions():
    rng = np.random.default_rng(8)
    first, second = tagged(rng, 300, skill=0.7), tagged(rng, 300, skill=0.5)
    difference = f1_of(first) - f1_of(second)
    sizes = [each[:, 1:].sum() for each in (first, second)]
    expected = difference * (1 - ((sizes[0] - sizes[1]) / sum(sizes)) ** 2)
    assert shares([of_f1(first)], [of_f1(second)]).sum() == pytest.approx(expected)


def test_two_equal_models_are_alike_to_every_test():
    same = of_mean(np.random.default_rng(9).uniform(0, 100, (20, 3)))
    (found,) = paired_tests([same], [([0], [0])], num_resamples=99)
    assert (found.difference, found.low, found.high, found.p_bootstrap, found.p_wilcoxon) == (0, 0, 0, 1, 1)


def test_one_item_proves_nothing():
    (found,) = paired_tests([of_mean(np.array([[100.0]])), of_mean(np.array([[0.0]]))], [([0], [1])], num_resamples=99)
    assert (found.difference, found.p_bootstrap, found.p_wilcoxon, found.num_items) == (100, 1, 1, 1)


# Many comparisons ---------------------------------------------------------------------------------------------------


def test_holms_correction_of_a_family_worked_out_by_hand():
    # In order 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1; the last one may not be below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.7]) == [0.7] and holm([0.6, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.01, 0.05]), min_size=1, max_size=6))
def test_holms_correction_is_the_closed_test_of_bonferronis(p_values):
    # A hypothesis falls if all intersections that it is part of fall, each by Bonferroni.
    families = [
        family for size in range(1, len(p_values) + 1) for family in itertools.combinations(range(len(p_values)), size)
    ]
    expected = [
        max(min(1.0, len(family) * min(p_values[each] for each in family)) for family in families if one in family)
        for one in range(len(p_values))
    ]
    assert holm(p_values) == pytest.approx(expected)


# What is promised ---------------------------------------------------------------------------------------------------


def alike(rng: np.random.Generator, num_items: int, num_cells: int, *, gain: float = 0.0) -> np.ndarray:
    """Shares of two models, the second one worse by `gain`: items are easy or hard for both, and each model finds some
    of them easier in all cells at once."""
    easy = rng.normal(50, 25, (num_items, 1))
    sides = [
        easy + move + rng.normal(0, 20, (num_items, 1)) + rng.normal(0, 20, (num_items, num_cells))
        for move in (gain, 0.0)
    ]
    return shares(*([of_mean(np.clip(np.round(side, -1), 0, 100))] for side in sides))


def within(found: int, num: int, rate: float) -> bool:
    """Whether that many of `num` can come of a rate; one in a thousand times they do not."""
    low, high = stats.binom.interval(0.999, num, rate)
    return low <= found <= high


@pytest.mark.parametrize("num_items", [20, 100])
def test_models_that_are_alike_are_found_to_differ_as_seldom_as_promised(num_items):
    rng = np.random.default_rng(num_items)
    parts = np.stack([alike(rng, num_items, 4) for _ in range(2000)], axis=1)
    assert within((exchange_test(parts, num_resamples=1999) < LEVEL).sum(), 2000, LEVEL)
    assert within(sum(wilcoxon_test(each) < LEVEL for each in parts.T), 2000, LEVEL)


def test_taggers_that_are_alike_are_found_to_differ_as_seldom_as_promised():
    rng = np.random.default_rng(11)

    def pair() -> np.ndarray:
        skill = rng.beta(3, 2, 60)
        gold, extra = rng.poisson(1.5, 60), rng.poisson(0.4, (2, 60))
        hits = rng.binomial(gold, skill, (2, 60))
        return shares(*([of_f1(np.stack([hits[side], hits[side] + extra[side], gold], axis=1))] for side in (0, 1)))

    parts = np.stack([pair() for _ in range(2000)], axis=1)
    assert within((exchange_test(parts, num_resamples=1999) < LEVEL).sum(), 2000, LEVEL)
    assert within(sum(wilcoxon_test(each) < LEVEL for each in parts.T), 2000, LEVEL)


def test_a_family_of_models_that_are_alike_seldom_has_a_false_finding():
    rng, num_families = np.random.default_rng(12), 400
    found = {"exchange": 0, "wilcoxon": 0}
    for _ in range(num_families):
        models = [of_mean(rng.normal(50, 20, (40, 1))) for _ in range(5)]
        pairs = list(itertools.combinations(models, 2))
        parts = np.stack([shares([one], [other]) for one, other in pairs], axis=1)
        found["exchange"] += min(holm(exchange_test(parts, num_resamples=999))) < LEVEL
        found["wilcoxon"] += min(holm([wilcoxon_test(each) for each in parts.T])) < LEVEL
    assert max(found.values()) <= stats.binom.ppf(0.999, num_families, LEVEL), found


def test_a_real_difference_is_found():
    rng = np.random.default_rng(13)
    parts = np.stack([alike(rng, 200, 4, gain=8.0) for _ in range(200)], axis=1)
    assert (exchange_test(parts, num_resamples=1999) < LEVEL).mean() > 0.9
    assert np.mean([wilcoxon_test(each) < LEVEL for each in parts.T]) > 0.9


def test_the_interval_holds_the_true_difference_about_as_often_as_promised():
    rng, hits = np.random.default_rng(14), 0
    for _ in range(600):
        easy = rng.normal(50, 20, (100, 1))
        pair = [of_mean(easy + rng.normal(move, 15, (100, 2))) for move in (4.0, 1.0)]
        (found,) = paired_tests(pair, [([0], [1])], num_resamples=499)
        hits += found.low <= 3.0 <= found.high
    assert within(hits, 600, 0.945)
