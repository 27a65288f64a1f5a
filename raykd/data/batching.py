"""Batches of features: the order of an epoch, micro-batches of a step, batches for inference. Pure, without torch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from raykd.config.training import Batching

POOL_STEPS = 50
"""Features are sorted by length inside pools of so many steps: little padding, and batches still differ by epoch."""


@dataclass(frozen=True)
class MicroBatch:
    """What one rank forwards at once: indices of features. An idle one repeats a feature with weight 0."""

    indices: np.ndarray
    idle: bool


def widths(lengths: np.ndarray, config: Batching, *, max_length: int) -> np.ndarray:
    """[N] tokens that each feature takes in a batch: its own, or `max_length` where all are padded to it."""
    return np.full(len(lengths), max_length) if config.pads_to_max else lengths


def draw_unlabelled(count: int, *, per_epoch: int, seed: int, epoch: int) -> np.ndarray:
    """Which of `count` unlabelled features an epoch reads: [per_epoch] indices, in any order.

    All of them are read once before one comes again, over the bounds of epochs, and then in another order.
    """
    start = epoch * per_epoch
    rounds = range(start // count, -(-(start + per_epoch) // count))
    shuffled = [np.random.Generator(np.random.PCG64([seed, number, count])).permutation(count) for number in rounds]
    first = start - rounds.start * count
    return np.concatenate(shuffled)[first : first + per_epoch]


def order_epoch(
    lengths: np.ndarray,
    config: Batching,
    *,
    seed: int,
    epoch: int,
    chosen: np.ndarray | None = None,
    num_labelled: int | None = None,
) -> list[np.ndarray]:
    """The steps of an epoch: arrays of feature indices, each feature once.

    Depends on lengths, batching, seed and epoch alone, so that any number of workers walks the same order. Features of
    like length meet in a step; a token budget counts padding.

    Args:
        lengths: [N] tokens of each feature (as padded, where padding is to the maximum).
        chosen: the features of this epoch; None is all of them.
        num_labelled: the first so many features have labels; every step has its share of them. None: all have.
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = generator.permutation(len(lengths) if chosen is None else chosen)
    if num_labelled is not None:
        order = _interleaved(order, num_labelled)
    if config.tokens_per_step is None:
        assert config.examples_per_step is not None, "a configuration has one of the two"
        return [
            order[start : start + config.examples_per_step] for start in range(0, len(order), config.examples_per_step)
        ]
    budget = config.tokens_per_step
    per_step = max(1, int(budget / max(lengths[order].mean(), 1)))
    steps: list[np.ndarray] = []
    for start in range(0, len(order), per_step * POOL_STEPS):
        pool = order[start : start + per_step * POOL_STEPS]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        if num_labelled is not None:
            pool = _interleaved(pool, num_labelled)
        steps.extend(_cut(pool, lengths, budget, None))
    return [steps[index] for index in generator.permutation(len(steps))]


def _interleaved(order: np.ndarray, num_labelled: int) -> np.ndarray:
    """The same features, of which those with labels are evenly spread among the others; each kind keeps its order."""
    labelled = order < num_labelled
    place = np.empty(len(order))
    for kind in (labelled, ~labelled):
        place[kind] = (np.arange(kind.sum()) + 0.5) / max(kind.sum(), 1)
    return order[np.argsort(place, kind="stable")]


def split_step(
    step: np.ndarray, lengths: np.ndarray, config: Batching, *, rank: int, world_size: int
) -> list[MicroBatch]:
    """The micro-batches of one rank. Every rank gets equally many, as collective calls need.

    A step whose features share one width keeps their order, so that released micro-batches are reproduced.
    """
    ordered = step if len(set(lengths[step].tolist())) == 1 else step[np.argsort(lengths[step], kind="stable")]
    micros = _cut(ordered, lengths, config.micro_batch_tokens, config.micro_batch_examples)
    if len(micros) < world_size:
        shares = [share for share in np.array_split(ordered, world_size) if len(share)]
        # Equal counts may gather the widest features in one share.
        micros = [part for share in shares for part in _cut(share, lengths, config.micro_batch_tokens, None)]
    rounds = math.ceil(len(micros) / world_size)
    mine = [
        micros[turn * world_size + rank] if turn * world_size + rank < len(micros) else None for turn in range(rounds)
    ]
    return [MicroBatch(step[:1], True) if part is None else MicroBatch(part, False) for part in mine]


def batches_for_inference(lengths: np.ndarray, *, tokens: int, rank: int, world_size: int) -> Iterator[MicroBatch]:
    """Every feature once over all ranks, widest first, in padded batches of at most `tokens`; equally many a rank."""
    order = np.argsort(-lengths, kind="stable")
    parts = _cut(order, lengths, tokens, None)
    for turn in range(math.ceil(len(parts) / world_size)):
        place = turn * world_size + rank
        yield MicroBatch(parts[place], False) if place < len(parts) else MicroBatch(order[-1:], True)


def _cut(ordered: np.ndarray, lengths: np.ndarray, tokens: int, examples: int | None) -> list[np.ndarray]:
    """Consecutive runs whose padded size stays within `tokens` and whose count within `examples`."""
    parts, start, widest = [], 0, 0
    for position, index in enumerate(ordered):
        wider = max(widest, int(lengths[index]))
        count = position - start + 1
        if count > 1 and (wider * count > tokens or (examples and count > examples)):
            parts.append(ordered[start:position])
            start, wider = position, int(lengths[index])
        widest = wider
    parts.append(ordered[start:])
    return parts
