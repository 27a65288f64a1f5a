"""Steps of an epoch: the learning rate, the loss, what is kept of it. Knows neither Ray nor DeepSpeed."""

import functools
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from raykd.config.base import Weight, weight_at
from raykd.config.training import Batching
from raykd.data.batching import split_step
from raykd.tasks.teaching import Teacher


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


@dataclass(frozen=True)
class EpochData:
    """What an epoch trains on.

    Attributes:
        steps: arrays of feature indices, in order.
        lengths: [N] tokens of each feature as padded.
        label_scale: [N] what the label term of each feature is multiplied by, 0 of one without labels; None is 1.
    """

    steps: Sequence[np.ndarray]
    features: Collatable
    lengths: np.ndarray
    label_scale: np.ndarray | None = None

    @property
    def num_examples(self) -> int:
        """Features of all steps."""
        return sum(map(len, self.steps))

    @property
    def num_tokens(self) -> int:
        """Tokens of all steps."""
        return sum(int(self.lengths[step].sum()) for step in self.steps)


@dataclass(frozen=True)
class WeightedLoss:
    """What is minimised: the mean over a step's features, on all ranks, of `label_weight * label + kd_weight * kd`.

    Attributes:
        compute_terms: (model, batch, teacher's signals) -> terms.
        parts: names of the parts of the KD term to keep count of.
    """

    compute_terms: Callable[[Any, dict[str, Tensor], Any], Terms]
    teacher: Teacher | None = None
    label_weight: Weight = 1.0
    kd_weight: Weight = 0.0
    parts: tuple[str, ...] = ()

    def weights_at(self, *, lineage: float, generation: float) -> tuple[float, float]:
        """The weights of the label and of the KD term at a progress of the lineage and of the generation, in [0, 1]."""
        label, kd = (
            weight_at(each, lineage=lineage, generation=generation) for each in (self.label_weight, self.kd_weight)
        )
        return label, kd


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Where an epoch lies in its lineage; all of it is counted in steps.

    Attributes:
        first_step, total_steps: of the epoch, and of the lineage; weights are functions of the share that is done.
        schedule_start, schedule_steps: the first step of the learning rate's schedule, and its number of steps.
        generation_start, generation_steps: the first step of the generation, and its number of steps; None: it is the
            whole lineage.
    """

    first_step: int
    total_steps: int
    schedule_start: int
    schedule_steps: int
    generation_start: int = 0
    generation_steps: int | None = None

    def progress(self, step: int) -> dict[str, float]:
        """Shares of the lineage and of the generation that are done before a step; 1 for the last one."""
        of_generation = self.generation_steps if self.generation_steps is not None else self.total_steps
        return {
            "lineage": step / max(self.total_steps - 1, 1),
            "generation": (step - self.generation_start) / max(of_generation - 1, 1),
        }

    def learning_rate(self, config: Batching, step: int) -> float:
        """The learning rate of a step."""
        return learning_rate_at(config, step - self.schedule_start, self.schedule_steps)


def train_epoch(
    engine: Trainable,
    data: EpochData,
    *,
    loss: WeightedLoss,
    batching: Batching,
    timeline: Timeline,
    seed: int,
    begun: Begun = Begun(),
    between: Callable[[Callable[[], Begun]], None] | None = None,
) -> EpochStats:
    """Train on every step that is not done yet.

    Nothing is read from the device before the epoch is over, unless `between` asks.

    Args:
        seed: dropout is seeded by (seed, step, rank), so that a resumed epoch repeats the killed one.
        begun: the steps that were done before, which are left out.
        between: called after each step but the last with a function that tells what is done; if one rank calls that
            function, all must.
    """
    engine.train()
    steps, teacher = data.steps, loss.teacher
    pad_to = int(data.lengths[0]) if batching.pads_to_max else None
    tally = _Tally(engine, begun, len(steps), 3 + len(loss.parts))
    for number in range(len(begun.losses), len(steps)):
        step, position = steps[number], timeline.first_step + number
        weights = loss.weights_at(**timeline.progress(position))
        _seed_step(seed, position, engine.rank)
        micros = split_step(step, data.lengths, batching, rank=engine.rank, world_size=engine.world_size)
        signals = teacher.for_step(step, micros) if teacher is not None and weights[1] else [None] * len(micros)
        for micro, signal in zip(micros, signals, strict=True):
            batch = {
                name: tensor.to(engine.device, non_blocking=True)
                for name, tensor in data.features.collate(micro.indices, pad_to=pad_to).items()
            }
            terms = loss.compute_terms(engine, batch, signal)
            if data.label_scale is not None:
                scale = torch.from_numpy(data.label_scale[micro.indices]).to(engine.device, non_blocking=True)
                # Whatever stands for the label of an unlabelled feature, nothing comes of it.
                terms = replace(terms, label=torch.where(scale > 0, terms.label, 0.0) * scale)
            losses = _weighted(terms, weights, loss.parts) * (0.0 if micro.idle else 1 / len(step))
            engine.backward(losses[0] * engine.world_size)
            tally.add(number, losses.detach())
        engine.step(timeline.learning_rate(batching, position))
        if between is not None and number + 1 < len(steps):
            between(functools.partial(tally.until, number + 1))
    whole = tally.until(len(steps))
    return EpochStats(whole.losses, data.num_examples, data.num_tokens, whole.seconds, loss.parts)


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
