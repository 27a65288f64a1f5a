"""Passes without gradients: a teacher's signals, and a model's scores."""

import logging
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.config.identity import first_teachers, generation_zero, scored_languages
from raykd.config.point import PointConfig
from raykd.results.artifacts import Store, fingerprint
from raykd.results.signals import SignalStore
from raykd.results.sweep import BaseScores
from raykd.tasks.outcomes import Scored
from raykd.tasks.reading import Reading
from raykd.tasks.task import TASKS, Features, Task
from raykd.worker.context import Workspace, tokenizer_hash
from raykd.worker.engine import Engine
from raykd.worker.handoff import frozen
from raykd.worker.loop import MicroBatch, batches_for_inference

log = logging.getLogger(__name__)


@torch.no_grad()
def outputs(
    space: Workspace, task: Task, model: Engine, features: Features, *, tokens: int
) -> Iterator[tuple[MicroBatch, dict[str, Tensor], Any]]:
    """Forward this rank's share of the windows in batches of at most `tokens`; idle turns yield nothing."""
    model.eval()
    for micro in batches_for_inference(features.lengths, tokens=tokens, rank=space.rank, world_size=space.world_size):
        batch = space.to_device(features.collate(micro.indices))
        answered = model(**task.model_inputs(batch))
        space.pulse.moved()
        if not micro.idle:
            yield micro, batch, answered


def score(space: Workspace, model: Engine, config: PointConfig, base: str, *, epoch_sample: bool) -> Scored:
    """Score a model on the dev set, or on the smaller sample that is scored after every epoch."""
    task, evaluation = TASKS[config.task], config.evaluation
    dev = space.dev_set(config, base, epoch_sample=epoch_sample)
    predictions: list[Any] = []
    for micro, batch, answered in outputs(space, task, model, dev.features, tokens=evaluation.batch_tokens):
        predictions += task.predict(answered, batch, micro.indices, evaluation)
    return task.score(space.from_all_ranks(predictions), dev, evaluation)


def score_base(space: Workspace, base: str, config: PointConfig) -> BaseScores:
    """Scores of generation 0, taken once for all points that share it."""
    path = scores_path(base, config)
    if not space.from_rank_0(space.store.exists(path)):
        kinds = {"final": False} | ({"epoch": True} if config.evaluation.epoch_max_items != 0 else {})
        found: dict[str, dict[str | None, Scored]] = {kind: {} for kind in kinds}
        for teacher, language in generation_zero(config).items():
            with frozen(space, config, teacher) as engine:
                for kind, epoch_sample in kinds.items():
                    found[kind][language] = score(space, engine, config, base, epoch_sample=epoch_sample)
        scored = {kind: TASKS[config.task].of_teachers(each) for kind, each in found.items()}
        if space.rank == 0:
            record = BaseScores(
                base=base,
                model=config.base.model,
                final=scored["final"].scores,
                epoch=scored["epoch"].scores if "epoch" in scored else None,
                outcomes=scored["final"].outcomes,
            )
            space.store.write_record(path, record)
        space.barrier()
    return space.store.read_record(path, BaseScores)


def base_scores(store: Store, base: str, config: PointConfig) -> BaseScores:
    """What `score_base` wrote.

    Raises:
        ArtifactError: if generation 0 was not scored.
    """
    return store.read_record(scores_path(base, config), BaseScores)


def scores_path(base: str, config: PointConfig) -> PurePosixPath:
    """Name of the scores of generation 0 on a dev set."""
    recipe = {
        "teachers": list(generation_zero(config)),
        "evaluation": config.evaluation.model_dump(mode="json", exclude={"batch_tokens"}),
        "languages": scored_languages(config),
        "windows": TASKS[config.task].window_options(config),
        "precision": config.compute.precision,
    }
    return PurePosixPath("scores", f"{fingerprint(recipe)}.json")


def teacher_signals(
    space: Workspace, teachers: tuple[str, ...], config: PointConfig, base: str, *, in_memory: tuple[str, Engine] | None
) -> list[Reading]:
    """What the teachers say about the windows that each of them teaches.

    What is not stored yet is computed first, by the engine in memory where it holds that teacher.
    """
    task = TASKS[config.task]
    readings = []
    for teacher in teachers:
        task.same_labels(space.store.artifact(teacher), space.store.artifact(base))
        rows = taught_rows(space, teacher, config, base)
        seen = _seen(space, teacher, config, base).take(rows)
        store = signal_store(space, teacher, config, base)
        missing = space.from_rank_0(store.missing(seen.ids))
        if len(missing):
            started = time.perf_counter()
            part = seen.take(missing)
            if in_memory and in_memory[0] == teacher:
                _store_signals(space, in_memory[1], part, store, config)
            else:
                with frozen(space, config, teacher) as engine:
                    _store_signals(space, engine, part, store, config)
            log.info("signals of %s: %d windows in %.1f s", teacher, len(missing), time.perf_counter() - started)
        readings.append(Reading(rows, *store.read(seen.ids, seen.signal_lengths)))
    return readings


def taught_rows(space: Workspace, teacher: str, config: PointConfig, base: str) -> np.ndarray:
    """Indices of a point's windows that a teacher teaches: all, or those in its language."""
    train = space.train_set(config, base)
    return TASKS[config.task].taught_by(train, first_teachers(config).get(teacher))


def _seen(space: Workspace, teacher: str, config: PointConfig, base: str) -> Features:
    """What a teacher reads in place of a point's windows."""
    return TASKS[config.task].seen(space.train_set(config, base), first=teacher in first_teachers(config))


def num_missing(space: Workspace, teacher: str, config: PointConfig, base: str) -> int:
    """How many of a point's windows have no stored signals of this teacher."""
    seen = _seen(space, teacher, config, base)
    ids = [seen.ids[row] for row in taught_rows(space, teacher, config, base)]
    return len(signal_store(space, teacher, config, base).missing(ids))


def signal_store(space: Workspace, teacher: str, config: PointConfig, base: str) -> SignalStore:
    """Where a teacher's signals over the windows of this source, tokenizer and view are."""
    data = config.data
    # The teacher's question is drawn from the languages that an item is asked in, and these are drawn too.
    draw = [config.data_seed, data.num_target_languages, data.english_centric, data.pivot]
    recipe = {
        "teacher": teacher,
        "items": space.items(config)[1],
        "tokenizer": tokenizer_hash(space.tokenizer(base)),
        "windows": TASKS[config.task].signal_options(config),
        "view": [data.teacher_view, draw if data.teacher_view != "same" else None],
        "precision": config.compute.precision,
    }
    return SignalStore(space.store, space.store.signals(fingerprint(recipe)), teacher)


def _store_signals(
    space: Workspace, model: Engine, features: Features, store: SignalStore, config: PointConfig
) -> None:
    task = TASKS[config.task]
    rows: list[int] = []
    constants: dict[str, Tensor] = {}
    pieces: dict[str, list[Tensor]] = {name: [] for name in task.outputs}
    for micro, _, answered in outputs(space, task, model, features, tokens=config.evaluation.batch_tokens):
        rows += micro.indices.tolist()
        for name, values in task.signals(answered).items():
            host = values.to("cpu", task.stored_dtype)
            pieces[name] += [host[row, : features.signal_lengths[index]] for row, index in enumerate(micro.indices)]
        constants = {name: values.cpu() for name, values in task.constants(answered).items()}
    if rows:
        arrays = {name: torch.cat(parts) for name, parts in pieces.items()}
        store.write([features.ids[row] for row in rows], features.signal_lengths[rows].tolist(), arrays, constants)
    space.barrier()
