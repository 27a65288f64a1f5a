"""The order of an epoch, the micro-batches of a step, batches for inference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.config.training import Batching
from raykd.data.batching import batches_for_inference, order_epoch, split_step, widths
from raykd.tasks.qa.config import QaTraining

lengths_of_features = st.lists(st.integers(1, 60), min_size=1, max_size=150).map(np.array)
token_budgets = st.integers(32, 400)


def padded(part: np.ndarray, lengths: np.ndarray) -> int:
    return len(part) * int(lengths[part].max())


def respects(part: np.ndarray, lengths: np.ndarray, tokens: int) -> bool:
    """A feature that is longer than the budget goes alone."""
    return len(part) == 1 or padded(part, lengths) <= tokens


def same_steps(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return [step.tolist() for step in first] == [step.tolist() for step in second]


# The order of an epoch --------------------------------------------------------------------------------------------


@given(lengths=lengths_of_features, tokens=token_budgets, seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_an_epoch_holds_every_feature_once_within_the_token_budget(lengths, tokens, seed, epoch):
    steps = order_epoch(lengths, Batching(tokens_per_step=tokens), seed=seed, epoch=epoch)
    assert sorted(np.concatenate(steps).tolist()) == list(range(len(lengths)))
    assert all(respects(step, lengths, tokens) for step in steps)


@given(lengths=lengths_of_features, examples=st.integers(1, 20), seed=st.integers(0, 99))
def test_steps_of_a_fixed_number_of_examples_are_full_but_for_the_last(lengths, examples, seed):
    config = Batching(tokens_per_step=None, examples_per_step=examples)
    steps = order_epoch(lengths, config, seed=seed, epoch=0)
    assert sorted(np.concatenate(steps).tolist()) == list(range(len(lengths)))
    assert all(len(step) == examples for step in steps[:-1])
    assert 1 <= len(steps[-1]) <= examples


@given(lengths=lengths_of_features, tokens=token_budgets, seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_the_order_depends_on_nothing_but_seed_and_epoch(lengths, tokens, seed, epoch):
    config = Batching(tokens_per_step=tokens)
    first = order_epoch(lengths, config, seed=seed, epoch=epoch)
    np.random.seed(1)
    other = Batching(tokens_per_step=tokens, micro_batch_tokens=64, micro_batch_examples=2)
    assert same_steps(first, order_epoch(lengths.copy(), other, seed=seed, epoch=epoch))


@pytest.mark.parametrize("batching", [{"tokens_per_step": 200}, {"tokens_per_step": None, "examples_per_step": 8}])
def test_epochs_and_seeds_differ_in_their_order(batching):
    lengths = np.random.default_rng(0).integers(5, 40, size=200)
    draws = [(0, 0), (0, 1), (1, 0), (1, 1)]
    orders = [order_epoch(lengths, Batching(**batching), seed=seed, epoch=epoch) for seed, epoch in draws]
    assert not any(same_steps(orders[i], orders[j]) for i in range(4) for j in range(i))


def test_features_of_like_length_meet_so_that_little_is_padding():
    lengths = np.random.default_rng(0).integers(5, 100, size=2000)
    steps = order_epoch(lengths, Batching(tokens_per_step=1024), seed=0, epoch=0)
    assert lengths.sum() / sum(padded(step, lengths) for step in steps) > 0.9
    means = [lengths[step].mean() for step in steps]
    assert means != sorted(means)


# The micro-batches of a step --------------------------------------------------------------------------------------


@given(
    lengths=lengths_of_features,
    tokens=st.integers(32, 200),
    examples=st.none() | st.integers(1, 9),
    world_size=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_the_ranks_of_a_step_share_its_features_and_make_equally_many_calls(
    lengths, tokens, examples, world_size, seed
):
    step = np.random.default_rng(seed).permutation(len(lengths))
    config = Batching(micro_batch_tokens=tokens, micro_batch_examples=examples)
    ranks = [split_step(step, lengths, config, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(micros) for micros in ranks}) == 1
    busy = [micro.indices for micros in ranks for micro in micros if not micro.idle]
    assert sorted(np.concatenate(busy).tolist()) == sorted(step.tolist())
    assert all(respects(part, lengths, tokens) for part in busy)
    assert all(len(part) <= (examples or len(part)) for part in busy)
    assert all(len(micro.indices) == 1 for micros in ranks for micro in micros if micro.idle)
    # No rank idles a whole turn, and none at all where every rank can have a feature.
    assert all(any(not micros[turn].idle for micros in ranks) for turn in range(len(ranks[0])))
    if len(step) >= world_size:
        assert all(any(not micro.idle for micro in micros) for micros in ranks)


@given(count=st.integers(1, 40), examples=st.integers(1, 9), seed=st.integers(0, 9))
def test_features_of_one_width_keep_their_order(count, examples, seed):
    step = np.random.default_rng(seed).permutation(count)
    config = Batching(micro_batch_tokens=10_000, micro_batch_examples=examples)
    micros = split_step(step, np.full(count, 30), config, rank=0, world_size=1)
    assert np.concatenate([micro.indices for micro in micros]).tolist() == step.tolist()
    assert [len(micro.indices) for micro in micros[:-1]] == [examples] * (len(micros) - 1)


def test_micro_batches_of_a_known_step():
    lengths = np.array([10, 40, 20, 10, 30])
    config = Batching(micro_batch_tokens=60)
    # By length: 10 10 20 (60 tokens padded) | 30 (with 40: 80) | 40.
    (first, second), (third, idle) = (
        split_step(np.arange(5), lengths, config, rank=rank, world_size=2) for rank in (0, 1)
    )
    assert [micro.indices.tolist() for micro in (first, third, second)] == [[0, 3, 2], [4], [1]]
    assert idle.idle


def test_a_step_that_fits_one_micro_batch_is_shared_out_over_the_ranks():
    lengths = np.full(6, 10)
    micros = [
        split_step(np.arange(6), lengths, Batching(micro_batch_tokens=1000), rank=rank, world_size=3)
        for rank in range(3)
    ]
    assert [[micro.indices.tolist() for micro in rank] for rank in micros] == [[[0, 1]], [[2, 3]], [[4, 5]]]


def test_sharing_a_step_out_over_more_ranks_keeps_the_token_budget():
    # 10 features of 1 token and 2 of 100: two micro-batches of at most 200. Three equal shares would put
    # 1 1 100 100 together, which is 400 tokens padded.
    lengths = np.array([1] * 10 + [100] * 2)
    config = Batching(micro_batch_tokens=200)
    for rank in range(3):
        for micro in split_step(np.arange(12), lengths, config, rank=rank, world_size=3):
            assert respects(micro.indices, lengths, 200)


def test_a_step_of_one_feature_leaves_the_other_ranks_idle_with_a_feature_to_repeat():
    micros = [split_step(np.array([7]), np.full(8, 10), Batching(), rank=rank, world_size=3) for rank in range(3)]
    assert [(micro.indices.tolist(), micro.idle) for (micro,) in micros] == [([7], False), ([7], True), ([7], True)]


@given(lengths=lengths_of_features, tokens=st.integers(16, 300), world_size=st.integers(1, 4))
def test_inference_covers_every_feature_once_and_keeps_the_ranks_in_step(lengths, tokens, world_size):
    ranks = [
        list(batches_for_inference(lengths, tokens=tokens, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    busy = [batch.indices for batches in ranks for batch in batches if not batch.idle]
    assert sorted(np.concatenate(busy).tolist()) == list(range(len(lengths)))
    assert all(respects(part, lengths, tokens) for part in busy)
    # Widest first: what does not fit into memory fails at once, and not at the end.
    assert lengths[ranks[0][0].indices].max() == lengths.max()


# Widths -----------------------------------------------------------------------------------------------------------


def test_a_feature_is_as_wide_as_it_is_long_or_as_all_are_padded_to():
    lengths = np.array([3, 5])
    assert widths(lengths, Batching(), max_length=8).tolist() == [3, 5]
    assert widths(lengths, QaTraining(pad_to_max=True), max_length=8).tolist() == [8, 8]
