"""What a plan costs: steps, time, GPU-hours and disk, from what is known of data and models. Pure."""

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from raykd.config.point import PointBase
from raykd.config.training import Batching
from raykd.config.unlabelled import REST, num_unlabelled
from raykd.plan.points import Plan, num_later_passes
from raykd.tasks import task_of
from raykd.tasks.sizes import TextSizes

MEAN_LENGTH_SHARE = 0.62
"""Assumed mean length of a feature, as a share of `data.max_length`."""
PASS_SHARE = 1 / 3
"""Work of a forward pass as a share of a training step's."""


@dataclass(frozen=True)
class Sizes:
    """What is known of data and models; None is unknown.

    Attributes:
        total_items: parallel items (or sentences, or pairs, of each language) of the training data.
        num_labelled: examples that generation 0 is trained on.
        num_parameters: of a student.
        teacher_parameters: of the teacher of generation 1, where it is a stranger.
        widths: numbers of a sentence vector, of that teacher and of a student.
    """

    total_items: int | None = None
    num_labelled: int | None = None
    num_parameters: int | None = None
    teacher_parameters: int | None = None
    widths: tuple[int, int] | None = None
    texts: TextSizes = field(default_factory=TextSizes)


@dataclass(frozen=True)
class Cost:
    """What a part of the work takes. A worker whose CPUs the file leaves open counts as one CPU."""

    seconds: float = 0.0
    gpu_hours: float = 0.0
    cpu_hours: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.gpu_hours + other.gpu_hours, self.cpu_hours + other.cpu_hours)

    def hours(self, unit: str) -> float:
        """In the hours of `GPU` or `CPU`."""
        return self.gpu_hours if unit == "GPU" else self.cpu_hours


@dataclass(frozen=True)
class Estimate:
    """What a plan costs; None where it depends on something unknown.

    Attributes:
        examples: training examples that all points read, each counted once an epoch.
        steps: optimiser steps of all points.
        shared: what is made once: generation 0's training on labels, and the first teachers' stored passes.
        points: point id -> its trainings and the passes of its own teachers. Scoring and start-up are not counted.
        disk_bytes: weights that stay, stored signals, and what the points that run at the same time need meanwhile.
    """

    examples: int | None = None
    steps: int | None = None
    shared: Cost | None = None
    points: Mapping[str, Cost] | None = None
    disk_bytes: int | None = None

    @property
    def total(self) -> Cost | None:
        """Of everything together."""
        return None if self.shared is None or self.points is None else sum(self.points.values(), self.shared)

    def wall_seconds(self, parallel: int) -> float | None:
        """From begin to end, with so many points at the same time: no point is faster for it."""
        if self.shared is None or self.points is None:
            return None
        each = [cost.seconds for cost in self.points.values()]
        return self.shared.seconds + max(sum(each) / parallel, max(each, default=0.0))


def estimate(plan: Plan, sizes: Sizes, *, tokens_per_second: float | None = None, on_gpus: bool = False) -> Estimate:
    """Estimate a plan's cost, roughly: one feature an example, and every lineage walked to its end.

    Args:
        tokens_per_second: tokens, padding counted, that one point trains on; None is unknown.
        on_gpus: a worker takes a GPU where the file leaves that open, as it does where the cluster has any.
    """
    if any(num_examples(point.config, sizes.total_items) is None for point in plan.points):
        return Estimate()
    examples = steps = 0
    costs: dict[str, Cost] = {}
    for point in plan.points:
        config = point.config
        size, mean = _size(config, sizes), _mean_tokens(config, sizes)
        if config.unlabelled is not None:
            size += num_unlabelled(size, num_unlabelled_examples(config, sizes), config.unlabelled_per_labelled)
        epochs = config.num_epochs
        is_live = config.distillation.uses_teacher and config.distillation.reads_live
        examples += size * epochs
        steps += num_steps(config.training, size, mean) * epochs
        passes = epochs * is_live + num_later_passes(config)
        costs[point.id] = _cost(config, size * mean * (epochs + PASS_SHARE * passes), tokens_per_second, on_gpus)
    known = tokens_per_second is not None
    return Estimate(
        examples,
        steps,
        _shared(plan, sizes, tokens_per_second, on_gpus) if known else None,
        costs if known else None,
        _disk_bytes(plan, sizes),
    )


def num_examples(config: PointBase, total_items: int | None) -> int | None:
    """Labelled training examples of one epoch; None for budget `all` of a set whose size is unknown."""
    sizes = [size for size in (config.data.budget, total_items) if isinstance(size, int)]
    return min(sizes) * config.examples_per_item if sizes else None


def num_unlabelled_examples(config: PointBase, sizes: Sizes) -> int:
    """The unlabelled examples that a point may read; those of a source of their own are counted as far as is known."""
    section = config.unlabelled
    if section is None:
        return 0
    labelled = num_examples(config, sizes.total_items) or 0
    there = section.max_items
    if section.source == REST and sizes.total_items is not None:
        rest = sizes.total_items - labelled // config.examples_per_item
        there = rest if there is None else min(there, rest)
    share = len(config.unlabelled_languages) / len(config.data.languages)
    return round((there or 0) * config.examples_per_item * share)


def num_steps(training: Batching, examples: int, mean_tokens: float) -> int:
    """Optimiser steps of an epoch."""
    if training.examples_per_step:
        return math.ceil(examples / training.examples_per_step)
    return math.ceil(examples * mean_tokens / (training.tokens_per_step or 1))


def signal_bytes(config: PointBase, sizes: Sizes, *, first: bool) -> float:
    """Stored signals of one pass of a teacher over a point's training data: a first teacher, or a student as one."""
    width = (sizes.widths or (0, 0))[0 if first else 1]
    each = task_of(config).data.signal_bytes(config, sizes.texts, tokens=_mean_tokens(config, sizes), width=width)
    return (_size(config, sizes) + num_unlabelled_examples(config, sizes)) * each


def _size(config: PointBase, sizes: Sizes) -> int:
    size = num_examples(config, sizes.total_items)
    assert size is not None, "asked for before anything else"
    return size


def _mean_tokens(config: PointBase, sizes: Sizes) -> float:
    length = config.data.max_length
    return length if config.training.pads_to_max else sizes.texts.tokens or MEAN_LENGTH_SHARE * length


def _cost(config: PointBase, tokens: float, tokens_per_second: float | None, on_gpus: bool) -> Cost:
    """Of training on so many tokens, by all of a point's workers."""
    if tokens_per_second is None:
        return Cost()
    compute, seconds = config.compute, tokens / tokens_per_second
    gpus = compute.gpus_per_worker if compute.gpus_per_worker is not None else float(on_gpus)
    hours = seconds * compute.max_workers / 3600
    return Cost(seconds, hours * gpus, hours * (compute.cpus_per_worker or 1.0))


def _shared(plan: Plan, sizes: Sizes, tokens_per_second: float | None, on_gpus: bool) -> Cost:
    total = Cost()
    trained: set[tuple[str, ...]] = set()
    for point in plan.points:
        config, models = point.config, tuple(point.generation_zero)
        if config.label_training and models not in trained:
            trained.add(models)
            members = len(point.first_teachers) // len(models)
            tokens = (sizes.num_labelled or 0) * config.label_training.epochs * _mean_tokens(config, sizes) * members
            total += _cost(config, tokens, tokens_per_second, on_gpus)
    for point in plan.signals.values():
        read = _size(point.config, sizes) + num_unlabelled_examples(point.config, sizes)
        tokens = read * _mean_tokens(point.config, sizes) * PASS_SHARE
        total += _cost(point.config, tokens, tokens_per_second, on_gpus)
    return total


def _disk_bytes(plan: Plan, sizes: Sizes) -> int | None:
    """Float32 weights take 4 bytes a parameter, a checkpoint with AdamW's moments 12, and two checkpoints are kept."""
    if sizes.num_parameters is None:
        return None
    strangers = plan.first_teachers - plan.generation_zero
    own = len({*plan.bases, *plan.generation_zero})
    kept = sum(p.config.lineage.num_generations if p.config.lineage.keep == "all" else 1 for p in plan.points)
    weights = sizes.num_parameters * (own + kept) + (sizes.teacher_parameters or sizes.num_parameters) * len(strangers)
    shared = sum(signal_bytes(point.config, sizes, first=True) for point in plan.signals.values())
    running = min(plan.sweep.search.max_concurrent or len(plan.points), len(plan.points))
    # What later teachers say goes when their point is done, and so do checkpoints.
    meanwhile = [
        num_later_passes(point.config) * signal_bytes(point.config, sizes, first=False)
        + 24 * sizes.num_parameters * point.config.compute.checkpoints
        for point in plan.points
    ]
    return round(4 * weights + shared + sum(heapq.nlargest(running, meanwhile)))
