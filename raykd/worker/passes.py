"""Passes without gradients: a teacher's signals, and a model's scores."""

import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.config.identity import Identity
from raykd.config.point import PointBase
from raykd.config.scored import ScoredConfig
from raykd.data.batching import MicroBatch, batches_for_inference
from raykd.results.artifacts import Store, fingerprint
from raykd.results.signals import SignalStore
from raykd.results.sweep import BaseScores
from raykd.tasks import task_of
from raykd.tasks.outcomes import Scored, Scores
from raykd.tasks.task import Features, FrozenPart, Task
from raykd.tasks.teaching import Reading
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine
from raykd.worker.handoff import frozen

log = logging.getLogger(__name__)


@torch.no_grad()
def outputs(
    context: WorkerContext, task: Task, model: Engine, features: Features, *, tokens: int
) -> Iterator[tuple[MicroBatch, dict[str, Tensor], Any]]:
    """Forward this rank's share of the windows in batches of at most `tokens`; idle turns yield nothing."""
    model.eval()
    for micro in batches_for_inference(
        features.lengths, tokens=tokens, rank=context.rank, world_size=context.world_size
    ):
        batch = context.to_device(features.collate(micro.indices))
        answered = model(**task.model.inputs(batch))
        context.heartbeat.moved()
        if not micro.idle:
            yield micro, batch, answered


@torch.no_grad()
def frozen_rows(context: WorkerContext, part: FrozenPart, model: Engine, features: Features, *, tokens: int) -> Tensor:
    """[rows, H] what the frozen part of a student says of all windows, end to end; the same on every rank."""
    ends = np.cumsum(features.signal_lengths)
    found: Tensor | None = None
    model.eval()
    for micro in batches_for_inference(
        features.lengths, tokens=tokens, rank=context.rank, world_size=context.world_size
    ):
        said = part.outputs(model, context.to_device(features.collate(micro.indices)))
        context.heartbeat.moved()
        if found is None:
            found = torch.zeros(int(ends[-1]), said.shape[-1], dtype=said.dtype, device=said.device)
        for row, index in enumerate(micro.indices if not micro.idle else ()):
            count = features.signal_lengths[index]
            found[ends[index] - count : ends[index]] = said[row, :count]
    assert found is not None, "there are windows"
    if context.world_size > 1:
        torch.distributed.all_reduce(found)
    return found


def score(
    context: WorkerContext,
    model: Engine,
    point: Identity,
    section: ScoredConfig,
    *,
    reader: str,
    most: int | None = None,
    chosen: Scores | None = None,
) -> Scored:
    """Score a model on a set.

    Args:
        section: of the set.
        reader: artifact with the model's tokenizer.
        most: items of every cell or language; None takes all.
        chosen: of a test set: the model's scores on the selection set, which chose what is left open.
    """
    task, scored = task_of(point.config), context.scored_set(point, section, reader=reader, most=most)
    if chosen is not None:
        section = task.learning.settled(section, chosen)
    predictions: list[Any] = []
    for micro, batch, answered in outputs(context, task, model, scored.features, tokens=section.batch_tokens):
        predictions += task.learning.predict(answered, batch, micro.indices, section)
    return task.learning.score(context.from_all_ranks(predictions), scored, section)


def score_zero(
    context: WorkerContext,
    point: Identity,
    section: ScoredConfig,
    *,
    most: int | None = None,
    chosen: Scores | None = None,
) -> Scored:
    """Score generation 0, which may be several models, on a set; the arguments are those of `score`."""
    found: dict[str | None, Scored] = {}
    for name, language in point.generation_zero.items():
        with frozen(context, point.config, name) as engine:
            found[language] = score(context, engine, point, section, reader=name, most=most, chosen=chosen)
    return task_of(point.config).learning.combine(found, chosen)


def score_base(context: WorkerContext, point: Identity) -> BaseScores:
    """Scores of generation 0 on the selection set, taken once for all points that share it."""
    section, path = point.config.selection_set, point.scores
    if not context.from_rank_0(context.store.exists(path)):
        final, most = score_zero(context, point, section), section.epoch_max_items
        sample = final if most is None else score_zero(context, point, section, most=most) if most else None
        if context.rank == 0:
            record = BaseScores(
                base=point.zero,
                model=point.config.base.model,
                final=final.scores,
                epoch=sample.scores if sample is not None else None,
                outcomes=final.outcomes,
            )
            context.store.write_record(path, record)
        context.barrier()
    return context.store.read_record(path, BaseScores)


def base_scores(store: Store, point: Identity) -> BaseScores:
    """What `score_base` wrote.

    Raises:
        ArtifactError: if generation 0 was not scored.
    """
    return store.read_record(point.scores, BaseScores)


def teacher_signals(
    context: WorkerContext, teachers: Iterable[str], point: Identity, *, in_memory: tuple[str, Engine] | None
) -> list[Reading]:
    """What the teachers say about the windows that each of them teaches.

    What is not stored yet is computed first, by the engine in memory where it holds that teacher.
    """
    config, models = point.config, task_of(point.config).model
    readings = []
    for teacher in teachers:
        models.check_alike(context.store.artifact(teacher), context.store.artifact(point.base))
        whole = teacher_features(context, teacher, point)
        rows = taught_rows(whole, teacher, point)
        read = whole.take(rows)
        store = signal_store(context, teacher, point)
        missing = context.from_rank_0(store.missing(read.ids))
        if len(missing):
            started = time.perf_counter()
            part = read.take(missing)
            if in_memory and in_memory[0] == teacher:
                _store_signals(context, in_memory[1], part, store, config)
            else:
                with frozen(context, config, teacher) as engine:
                    _store_signals(context, engine, part, store, config)
            log.info("signals of %s: %d windows in %.1f s", teacher, len(missing), time.perf_counter() - started)
        readings.append(Reading(rows, *store.read(read.ids, read.signal_lengths), features=whole))
    return readings


def taught_rows(read: Features, teacher: str, point: Identity) -> np.ndarray:
    """Indices of what a teacher reads that it teaches: all, or what is in its language."""
    language, named = point.first_teachers.get(teacher), point.first_teachers.values()
    return task_of(point.config).learning.taught_by(read, language, named=named)


def teacher_features(context: WorkerContext, teacher: str, point: Identity) -> Features:
    """What a teacher reads in place of a point's windows."""
    learning, tokenizer = task_of(point.config).learning, context.tokenizer(teacher)
    return learning.teacher_features(context.train_set(point), tokenizer, first=teacher in point.first_teachers)


def num_missing(context: WorkerContext, teacher: str, point: Identity) -> int:
    """How many of a point's windows have no stored signals of this teacher."""
    read = teacher_features(context, teacher, point)
    ids = [read.ids[row] for row in taught_rows(read, teacher, point)]
    return len(signal_store(context, teacher, point).missing(ids))


def signal_store(context: WorkerContext, teacher: str, point: Identity) -> SignalStore:
    """Where a teacher's signals over the windows of this source, tokenizer and view are."""
    config = point.config
    reader = point.student if task_of(config).learning.cuts_for_both else teacher
    recipe = {
        "teacher": teacher,
        "items": context.items(config).sha256,
        "tokenizer": context.tokenizer_hash(reader),
        "windows": config.signal_options(),
        "precision": config.compute.precision,
    }
    return SignalStore(context.store, context.store.signals(fingerprint(recipe)), teacher)


def _store_signals(
    context: WorkerContext, model: Engine, features: Features, store: SignalStore, config: PointBase
) -> None:
    task = task_of(config).learning
    rows: list[int] = []
    constants: dict[str, Tensor] = {}
    pieces: dict[str, list[Tensor]] = {name: [] for name in task.outputs}
    for micro, _, answered in outputs(context, task_of(config), model, features, tokens=config.selection.batch_tokens):
        rows += micro.indices.tolist()
        for name, values in task.signals(answered).items():
            host = values.to("cpu", task.stored_dtype)
            pieces[name] += [host[row, : features.signal_lengths[index]] for row, index in enumerate(micro.indices)]
        constants = {name: values.cpu() for name, values in task.constants(answered).items()}
    if rows:
        arrays = {name: torch.cat(parts) for name, parts in pieces.items()}
        store.write([features.ids[row] for row in rows], features.signal_lengths[rows].tolist(), arrays, constants)
    context.barrier()
