import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.objectives import (
    COEFFICIENTS,
    RELEASED_RANK_CUTOFF,
    RELEASED_WINDOW,
    SYMMETRIC_WINDOW,
    average_precision,
    reciprocal_rank,
    reduce_groups,
)

torch.set_num_threads(1)

coefficients = pytest.mark.parametrize("name", COEFFICIENTS)
RELEASED = {"rank_cutoff": RELEASED_RANK_CUTOFF, "window": RELEASED_WINDOW}


def logits_of_ranking(*rankings: list[int]) -> torch.Tensor:
    """Rows in which the position named first has the highest logit."""
    logits = torch.zeros(len(rankings), len(rankings[0]))
    for row, ranking in enumerate(rankings):
        logits[row, ranking] = -torch.arange(len(ranking), dtype=torch.float32)
    return logits


def released_apk(actual: list[int], predicted: list[int], k: int) -> float:
    """Average precision at k that counts a repeated prediction once, as in section 1.3 of the specification."""
    hits, score, seen = 0, 0.0, set()
    for index, prediction in enumerate(predicted[:k]):
        if prediction in actual and prediction not in seen:
            hits += 1
            score += hits / (index + 1)
        seen.add(prediction)
    return score / min(len(actual), k)


def released_coefficient(teacher: list[torch.Tensor], gold: list[torch.Tensor], temperature: float) -> float:
    """Steps 1 to 5 of section 1.3, one example at a time."""
    means = []
    for logits, positions in zip(teacher, gold, strict=True):
        scores = []
        for row, position in zip(torch.softmax(logits / temperature, dim=-1), positions.tolist(), strict=True):
            relevant = range(position - 5, position + 5)
            listed = [int(index in relevant) for index in row.topk(10).indices.tolist()]
            scores.append(released_apk([1], listed, 10))
        means.append(sum(scores) / len(scores))
    return sum(means) / 2


@st.composite
def rankings(draw):
    length = draw(st.integers(1, 14))
    ranking = draw(st.permutations(range(length)))
    mask = draw(st.none() | st.lists(st.booleans(), min_size=length, max_size=length))
    gold = draw(st.integers(-2, length - 1))
    rank_cutoff = draw(st.integers(1, 18))
    window = draw(st.tuples(st.integers(0, 6), st.integers(0, 6)))
    return ranking, mask, gold, rank_cutoff, window


def oracle(ranking, mask, gold, rank_cutoff, window) -> tuple[float, float]:
    """Average precision and reciprocal rank, by their textbook definitions."""
    takes_part = [position for position in range(len(ranking)) if mask is None or mask[position]]
    relevant = {p for p in takes_part if gold >= 0 and gold - window[0] <= p <= gold + window[1]}
    ranked = [position for position in ranking if position in takes_part][:rank_cutoff]
    hit_ranks = [rank for rank, position in enumerate(ranked, 1) if position in relevant]
    if not hit_ranks:
        return 0.0, 0.0
    precisions = [len(relevant.intersection(ranked[:rank])) / rank for rank in hit_ranks]
    return sum(precisions) / min(rank_cutoff, len(relevant)), 1 / hit_ranks[0]


@settings(max_examples=300, deadline=None)
@given(rankings())
def test_both_coefficients_agree_with_their_definitions(case):
    ranking, mask, gold, rank_cutoff, window = case
    expected_precision, expected_rank = oracle(*case)
    arguments = {
        "rank_cutoff": rank_cutoff,
        "window": window,
        "mask": None if mask is None else torch.tensor([mask]),
    }
    logits, gold = logits_of_ranking(list(ranking)), torch.tensor([gold])
    assert average_precision(logits, gold, **arguments).item() == pytest.approx(expected_precision, abs=1e-6)
    assert reciprocal_rank(logits, gold, **arguments).item() == pytest.approx(expected_rank, abs=1e-6)


def test_average_precision_of_a_known_ranking():
    # Relevant are 3, 4, 5; ranks 1 and 3 hit them: (1/1 + 2/3) / 3.
    logits = logits_of_ranking([4, 0, 5, 1, 2, 3, 6, 7])
    precision = average_precision(logits, torch.tensor([4]), rank_cutoff=5, window=(1, 1))
    torch.testing.assert_close(precision, torch.tensor([(1 + 2 / 3) / 3]))


def test_average_precision_is_divided_by_the_cutoff_if_that_is_smaller():
    # Three relevant positions, two ranks: (1/1 + 2/2) / 2.
    logits = logits_of_ranking([4, 5, 0, 1, 2, 3, 6, 7])
    assert average_precision(logits, torch.tensor([4]), rank_cutoff=2, window=(1, 1)).item() == 1


def test_a_window_that_leaves_the_row_counts_only_the_positions_inside():
    # Around position 0 the window (5, 1) has two positions left; ranks 1 and 2 hit them.
    logits = logits_of_ranking([1, 0, 2, 3, 4, 5])
    assert average_precision(logits, torch.tensor([0]), rank_cutoff=4, window=(5, 1)).item() == 1


def test_reciprocal_rank_of_known_rankings():
    logits = logits_of_ranking([4, 0, 1, 2, 3, 5], [0, 1, 4, 2, 3, 5], [0, 1, 2, 4, 3, 5])
    ranks = reciprocal_rank(logits, torch.tensor([4, 4, 4]), rank_cutoff=3, window=(0, 0))
    torch.testing.assert_close(ranks, torch.tensor([1.0, 1 / 3, 0.0]))


def test_the_released_window_ends_four_after_gold_and_the_symmetric_one_five():
    def hit(position: int, window: tuple[int, int]) -> bool:
        ranking = [position, *(other for other in range(30) if other != position)]
        return reciprocal_rank(logits_of_ranking(ranking), torch.tensor([15]), rank_cutoff=1, window=window).item() == 1

    assert [position for position in range(30) if hit(position, RELEASED_WINDOW)] == list(range(10, 20))
    assert [position for position in range(30) if hit(position, SYMMETRIC_WINDOW)] == list(range(10, 21))


@pytest.mark.parametrize("seed", range(5))
def test_the_released_coefficient_comes_out_at_every_temperature(seed):
    generator = torch.Generator().manual_seed(seed)
    teacher = [torch.randn(6, 384, generator=generator) * 3 for _ in range(2)]
    gold = [torch.randint(384, (6,), generator=generator) for _ in range(2)]
    for logits, positions in zip(teacher, gold, strict=True):
        logits[torch.arange(5), (positions[:5] + torch.tensor([-5, 4, 5, 0, -6])).clamp(0, 383)] += 6.0
    values = torch.stack([reciprocal_rank(x, y, **RELEASED) for x, y in zip(teacher, gold, strict=True)], dim=-1)
    got = reduce_groups(values, group_size=6)
    assert (got == got[0, 0]).all()
    for temperature in (1.0, 2.0, 16.0):
        assert got[0, 0].item() == pytest.approx(released_coefficient(teacher, gold, temperature), abs=1e-6)


@coefficients
def test_temperature_cannot_change_a_coefficient(name):
    generator = torch.Generator().manual_seed(0)
    logits, gold = torch.randn(32, 384, generator=generator), torch.randint(384, (32,), generator=generator)
    assert torch.equal(COEFFICIENTS[name](logits, gold, **RELEASED), COEFFICIENTS[name](logits / 4, gold, **RELEASED))


@coefficients
def test_a_teacher_that_ranks_the_window_first_is_trusted_fully(name):
    logits = -(torch.arange(40) - 19.6).abs().repeat(3, 1)
    assert (COEFFICIENTS[name](logits, torch.full((3,), 20), **RELEASED) == 1).all()


@coefficients
def test_a_row_without_an_answer_is_not_trusted(name):
    logits = logits_of_ranking(list(range(12)), list(range(12)))
    coefficient = COEFFICIENTS[name](logits, torch.tensor([-1, 0]), **RELEASED)
    assert coefficient[0] == 0 and coefficient[1] == 1


@coefficients
def test_masked_positions_take_no_rank_and_score_no_hit(name):
    logits = logits_of_ranking([0, 1, 2, 5, 3, 4], [5, 0, 1, 2, 3, 4])
    mask = torch.tensor([[False, False, False, True, True, True], [True] * 5 + [False]])
    gold = torch.tensor([5, 5])
    assert COEFFICIENTS[name](logits, gold, rank_cutoff=1, window=(0, 0), mask=mask).tolist() == [1, 0]


@coefficients
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_cutoff_beyond_the_row_and_a_mask_of_few_positions_are_fine_in_every_dtype(name, dtype):
    logits = torch.tensor([[-torch.inf, -6e4, 6e4, -torch.inf]]).to(dtype)
    mask = torch.tensor([[True, True, False, False]])
    # Two positions take part: 1 ranks first, and 0, a real -inf, still ranks second, before the masked ones.
    coefficient = COEFFICIENTS[name](logits, torch.tensor([0]), rank_cutoff=10, window=(0, 0), mask=mask)
    assert coefficient.dtype == torch.float32
    assert coefficient.tolist() == [0.5]


@coefficients
def test_a_fully_masked_row_is_not_trusted(name):
    mask = torch.zeros(1, 6, dtype=torch.bool)
    coefficient = COEFFICIENTS[name](torch.randn(1, 6), torch.tensor([2]), rank_cutoff=3, window=(5, 5), mask=mask)
    assert coefficient.item() == 0


@coefficients
def test_wrong_input_is_refused(name):
    coefficient, logits, gold = COEFFICIENTS[name], torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match="rank_cutoff: got 0"):
        coefficient(logits, gold, rank_cutoff=0, window=(5, 4))
    with pytest.raises(ValueError, match="window"):
        coefficient(logits, gold, rank_cutoff=1, window=(-1, 4))
    with pytest.raises(ValueError, match="gold"):
        coefficient(logits, gold[:1], rank_cutoff=1, window=(5, 4))
    with pytest.raises(ValueError, match="bool"):
        coefficient(logits, gold, rank_cutoff=1, window=(5, 4), mask=torch.ones(2, 3))


def test_a_group_shares_the_mean_over_its_rows_and_both_boundaries():
    values = torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 1.0], [0.0, 0.2], [0.3, 0.5]])
    expected = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.55, 0.55], [0.55, 0.55], [0.4, 0.4]])
    torch.testing.assert_close(reduce_groups(values, group_size=2), expected)


def test_without_a_group_size_all_rows_share_one_mean():
    values = torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]])
    assert torch.equal(reduce_groups(values, group_size=None), torch.full((3, 2), 0.5))
    assert torch.equal(reduce_groups(values, group_size=100), torch.full((3, 2), 0.5))


def test_groups_of_no_rows_are_no_rows():
    assert reduce_groups(torch.zeros(0, 2), group_size=6).shape == (0, 2)


def test_a_wrong_group_is_refused():
    with pytest.raises(ValueError, match="group_size: got 0"):
        reduce_groups(torch.zeros(4, 2), group_size=0)
    with pytest.raises(ValueError, match=r"\[N, 2\]"):
        reduce_groups(torch.zeros(4), group_size=2)
