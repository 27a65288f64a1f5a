"""Steps and epochs: the order of the data, the learning rate, the loss. Knows neither Ray nor DeepSpeed."""

import functools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from raykd.config.base import Weight, weight_at
from raykd.config.training import Batching
from raykd.tasks.teaching import Teacher

POOL_STEPS = 50
"""Features are sorted by length inside pools of so many steps: little padding, and batches still differ by epoch."""


class Trainable(Protocol):
    """What the loop needs of an engine."""

    world_size: int
    rank: int
    device: torch.device

    def __call__(self, **inputs: Tensor) -> Any: ...
    def train(self) -> None: ...
    def backward(self, loss: Tensor) -> None: ...
    def step(self, learning_rate: float) -> None: ...


@dataclass(frozen=True)
class MicroBatch:
    """What one rank forwards at once: indices of features. An idle one repeats a feature with weight 0."""

    indices: np.ndarray
    idle: bool


@dataclass(frozen=True)
class Terms:
    """Loss terms of the features of a micro-batch, [B] each; `kd` is None without a teacher.

    Attributes:
        parts: what the KD term is made of, where that is worth watching.
    """

    label: Tensor
    kd: Tensor | None
    parts: Mapping[str, Tensor] = field(default_factory=dict)


class Collatable(Protocol):
    """What the loop needs of features."""

    def collate(self, indices: np.ndarray, *, pad_to: int | None = None) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Begun:
    """The part of an epoch that is done.

    Attributes:
        losses: of its first steps, as `EpochStats` has them.
        seconds: what these took.
    """

    losses: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class EpochStats:
    """One epoch: global means of the terms for each step, and how fast it was.

    Attributes:
        losses: [steps, 3 + parts] total, label and KD term, and what the KD term is made of.
        parts: names of the last columns.
    """

    losses: list[list[float]]
    num_examples: int
    num_tokens: int
    seconds: float
    parts: tuple[str, ...] = ()

    @property
    def mean_loss(self) -> float:
        """Mean of the total over steps."""
        return float(np.mean([row[0] for row in self.losses]))


def order_epoch(
    lengths: np.ndarray, config: Batching, *, seed: int, epoch: int, chosen: np.ndarray | None = None
) -> list[np.ndarray]:
    """The steps of an epoch: arrays of feature indices, each feature once.

    Depends on lengths, batching, seed and epoch alone, so that any number of workers walks the same order. Features of
    like length meet in a step; a token budget counts padding.

    Args:
        lengths: [N] tokens of each feature (as padded, where padding is to the maximum).
        chosen: the features of this epoch; None is all of them.
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = generator.permutation(len(lengths) if chosen is None else chosen)
    if config.examples_per_step:
        return [
            order[start : start + config.examples_per_step] for start in range(0, len(order), config.examples_per_step)
        ]
    budget = config.tokens_per_step
    per_step = max(1, int(budget / max(lengths[order].mean(), 1)))
    steps: list[np.ndarray] = []
    for start in range(0, len(order), per_step * POOL_STEPS):
        pool = order[start : start + per_step * POOL_STEPS]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        steps.extend(_cut(pool, lengths, budget, None))
    return [steps[index] for index in generator.permutation(len(steps))]


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


def learning_rate_at(config: Batching, step: int, total_steps: int) -> float:
    """Learning rate of a step (from 0): linear warm-up, then the schedule down to 0."""
    warmup = round(config.warmup * total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(total_steps - warmup, 1)
    if config.lr_schedule == "constant":
        return config.learning_rate
    if config.lr_schedule == "cosine":
        return config.learning_rate * (1 + math.cos(math.pi * share)) / 2
    return config.learning_rate * (1 - share)


def train_epoch(
    engine: Trainable,
    steps: Sequence[np.ndarray],
    *,
    features: Collatable,
    lengths: np.ndarray,
    batching: Batching,
    compute_terms: Callable[[Any, dict[str, Tensor], Any], Terms],
    teacher: Teacher | None,
    label_weight: Weight,
    kd_weight: Weight,
    first_step: int,
    total_steps: int,
    schedule_steps: tuple[int, int],
    seed: int,
    parts: Sequence[str] = (),
    begun: Begun = Begun(),
    between: Callable[[Callable[[], Begun]], None] | None = None,
) -> EpochStats:
    """Train on every step that is not done yet.

    The loss of a step is the mean over all its features on all ranks of `label_weight * label + kd_weight * kd`.
    Nothing is read from the device before the epoch is over, unless `between` asks.

    Args:
        lengths: [N] tokens of each feature as padded.
        first_step, total_steps: where the epoch lies in the lineage; weights are functions of `step / total_steps`.
        schedule_steps: first step of the learning rate's schedule, counted in the lineage, and its number of steps.
        seed: dropout is seeded by (seed, step, rank), so that a resumed epoch repeats the killed one.
        parts: names of the parts of the KD term to keep count of.
        begun: the steps that were done before, which are left out.
        between: called after each step but the last with a function that tells what is done; if one rank calls that
            function, all must.
    """
    engine.train()
    pad_to = int(lengths[0]) if batching.pads_to_max else None
    tally = _Tally(engine, begun, len(steps), 3 + len(parts))
    for number in range(len(begun.losses), len(steps)):
        step, position = steps[number], first_step + number
        progress = position / max(total_steps - 1, 1)
        weights = weight_at(label_weight, progress), weight_at(kd_weight, progress)
        _seed_step(seed, position, engine.rank)
        micros = split_step(step, lengths, batching, rank=engine.rank, world_size=engine.world_size)
        signals = teacher.for_step(step, micros) if teacher is not None and weights[1] else [None] * len(micros)
        for micro, signal in zip(micros, signals, strict=True):
            batch = {
                name: tensor.to(engine.device, non_blocking=True)
                for name, tensor in features.collate(micro.indices, pad_to=pad_to).items()
            }
            terms = compute_terms(engine, batch, signal)
            losses = _weighted(terms, weights, parts) * (0.0 if micro.idle else 1 / len(step))
            engine.backward(losses[0] * engine.world_size)
            tally.add(number, losses.detach())
        engine.step(learning_rate_at(batching, position - schedule_steps[0], schedule_steps[1]))
        if between is not None and number + 1 < len(steps):
            between(functools.partial(tally.until, number + 1))
    whole = tally.until(len(steps))
    num_examples, num_tokens = sum(map(len, steps)), sum(int(lengths[step].sum()) for step in steps)
    return EpochStats(whole.losses, num_examples, num_tokens, whole.seconds, tuple(parts))


class _Tally:
    """The losses of an epoch's steps: those that were done before, and sums on the device for the others."""

    def __init__(self, engine: Trainable, begun: Begun, num_steps: int, columns: int) -> None:
        self.engine, self.begun, self.started = engine, begun, time.perf_counter()
        self.sums = torch.zeros(num_steps - len(begun.losses), columns, device=engine.device)

    def add(self, step: int, losses: Tensor) -> None:
        """Add what a micro-batch gave to its step."""
        self.sums[step - len(self.begun.losses)] += losses

    def until(self, step: int) -> Begun:
        """The steps before this one, read from the device and summed over ranks."""
        rows = self.sums[: step - len(self.begun.losses)].clone()
        if self.engine.world_size > 1:
            torch.distributed.all_reduce(rows)
        seconds = self.begun.seconds + time.perf_counter() - self.started
        return Begun([*self.begun.losses, *rows.tolist()], seconds)


def _weighted(terms: Terms, weights: tuple[float, float], parts: Sequence[str]) -> Tensor:
    """[3 + parts] sums over the micro-batch: total, label, KD, parts of it; a part that is not there is 0."""
    label = terms.label.sum()
    kd = terms.kd.sum() if terms.kd is not None else torch.zeros_like(label)
    rest = [terms.parts[name].detach().sum() if name in terms.parts else torch.zeros_like(label) for name in parts]
    return torch.stack([weights[0] * label + weights[1] * kd, label, kd, *rest])


def _seed_step(seed: int, step: int, rank: int) -> None:
    torch.manual_seed(random.Random(f"{seed}:{step}:{rank}").getrandbits(63))


def batches_for_inference(lengths: np.ndarray, *, tokens: int, rank: int, world_size: int) -> Iterator[MicroBatch]:
    """Every feature once over all ranks, widest first, in padded batches of at most `tokens`; equally many a rank."""
    order = np.argsort(-lengths, kind="stable")
    parts = _cut(order, lengths, tokens, None)
    for turn in range(math.ceil(len(parts) / world_size)):
        place = turn * world_size + rank
        yield MicroBatch(parts[place], False) if place < len(parts) else MicroBatch(order[-1:], True)
