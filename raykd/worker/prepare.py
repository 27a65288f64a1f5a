"""What points share, made before any of them starts: generation 0, its scores, its signals."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from raykd.config.identity import first_teachers
from raykd.config.point import PointConfig
from raykd.errors import DataError
from raykd.results.artifacts import ArtifactRecord, hash_folder
from raykd.results.models import locate_model
from raykd.tasks.task import TASKS
from raykd.worker.context import Workspace, tokenizer_hash
from raykd.worker.handoff import BUILTIN_TINY, build_engine, export, given_model, given_teacher, load
from raykd.worker.loop import order_epoch, train_epoch
from raykd.worker.passes import num_missing, score_base, scores_path, teacher_signals
from raykd.worker.training import loss_terms, refuse_nan, widths


def prepare(space: Workspace, base: str, configs: Sequence[PointConfig]) -> Iterator[str]:
    """Make what points with one base teacher share. Yields a line for each thing made."""
    if space.from_rank_0(space.store.has(base, strict=True)):
        _refuse_changed_model(space, "base.model", configs[0].base.model, base)
    else:
        yield from _make_base(space, configs[0], base)
        yield f"generation 0 is ready ({configs[0].base.model})"
    for config in {tuple(first_teachers(config)): config for config in configs}.values():
        yield from _make_teachers(space, config, base)
    for config in {scores_path(base, config): config for config in configs}.values():
        yield f"generation 0 scores {score_base(space, base, config).final.headline}"
    windows = 0
    for config in configs:
        if config.distillation.uses_teacher and config.distillation.signals == "stored":
            for teacher in first_teachers(config):
                missing = space.from_rank_0(num_missing(space, teacher, config, base))
                if missing:
                    teacher_signals(space, (teacher,), config, base, in_memory=None)
                    windows += missing
    if windows:
        yield f"the first teachers' signals over {windows} windows are stored"


def _make_teachers(space: Workspace, config: PointConfig, base: str) -> Iterator[str]:
    """Train or take the teachers of generation 1 that are not there yet."""
    for teacher, language in first_teachers(config).items():
        given = config.task == "parallel" and teacher != base
        is_there = space.from_rank_0(space.store.has(teacher, strict=given))
        if given:
            if is_there:
                _refuse_changed_model(space, "teacher.model", config.teacher.model, teacher)
            else:
                yield _take_teacher(space, config, teacher)
        elif not is_there:
            yield from _train_teacher(space, config, base, teacher, language)


def _make_base(space: Workspace, config: PointConfig, name: str) -> Iterator[str]:
    """Take the given model as generation 0, or train it on labels, with a line for every epoch."""
    model, tokenizer = given_model(space, config)
    made = ArtifactRecord(
        kind="base",
        config=config.base.model_dump(mode="json"),
        given=_given_files(space, config.base.model),
        tokenizer=tokenizer_hash(tokenizer),
    )
    trained = config.base.train is not None and config.task == "qa"
    if trained:
        yield from _train(space, config, name, model, made, tokenizer=tokenizer, language=config.base.train.language)
    else:
        _keep(space, name, model, made, tokenizer=tokenizer)


def _keep(space: Workspace, name: str, model: Any, made: ArtifactRecord, *, tokenizer: Any) -> None:
    """A model as it is, as an artifact."""
    if space.rank == 0:
        with space.store.committing(name, lambda: made) as folder:
            model.save_pretrained(folder, state_dict=model.state_dict())
            tokenizer.save_pretrained(folder)
    space.barrier()


def _take_teacher(space: Workspace, config: PointConfig, name: str) -> str:
    """Take a given model as the teacher of generation 1."""
    model, tokenizer = given_teacher(space, config)
    made = ArtifactRecord(
        kind="teacher",
        config=config.teacher.model_dump(mode="json"),
        given=_given_files(space, config.teacher.model),
        tokenizer=tokenizer_hash(tokenizer),
    )
    _keep(space, name, model, made, tokenizer=tokenizer)
    return f"the teacher is ready ({config.teacher.model})"


def _given_files(space: Workspace, model: str) -> dict[str, str]:
    """Hash of every file of a given model folder; none for a Hub id and the built-in model."""
    if model == BUILTIN_TINY:
        return {}
    folder = Path(locate_model(model, folder=space.folder))
    return hash_folder(folder) if folder.is_dir() else {}


def _refuse_changed_model(space: Workspace, key: str, model: str, name: str) -> None:
    recorded, found = space.store.record(name).given, _given_files(space, model)
    if recorded != found:
        changed = sorted(file for file in recorded.keys() | found.keys() if recorded.get(file) != found.get(file))
        raise DataError(
            f"{key} {model}: {', '.join(changed)} changed since this sweep began; "
            "give the sweep another storage, or put the model back"
        )


def _train_teacher(space: Workspace, config: PointConfig, base: str, name: str, language: str | None) -> Iterator[str]:
    """Train a teacher on labels, of one language or of all, from the model that students start from."""
    torch.manual_seed(config.base.train.seed)
    model = load(space, config, base, dropout=config.base.train.dropout)
    tokenizer, train = space.tokenizer(base), config.base.train.model_dump(mode="json")
    made = ArtifactRecord(
        kind="teacher", base=base, language=language, train=train, tokenizer=tokenizer_hash(tokenizer)
    )
    yield from _train(space, config, name, model, made, tokenizer=tokenizer, language=language)


def _train(
    space: Workspace,
    config: PointConfig,
    name: str,
    model: Any,
    made: ArtifactRecord,
    *,
    tokenizer: Any,
    language: str | None,
) -> Iterator[str]:
    """Train a model on labels and export it, with a line for every epoch."""
    train, task = config.base.train, TASKS[config.task]
    who = "generation 0" if config.task == "qa" else f"teacher {language or 'of all languages'}"
    features, data = task.labelled(config, tokenizer, model, folder=space.folder, language=language)
    lengths = widths(features, train, config.data.max_length)
    epochs = [order_epoch(lengths, train, seed=train.seed, epoch=epoch) for epoch in range(train.epochs)]
    total, done = sum(map(len, epochs)), 0
    engine = build_engine(model, train, config.compute)
    for number, steps in enumerate(epochs):
        stats = train_epoch(
            engine,
            steps,
            features=features,
            lengths=lengths,
            batching=train,
            compute_terms=loss_terms(task, config.distillation, padding=train.pad_to_max),
            teacher=None,
            label_weight=1.0,
            kd_weight=0.0,
            first_step=done,
            total_steps=total,
            schedule_steps=(0, total),
            seed=train.seed,
        )
        done += len(steps)
        refuse_nan(stats.losses, who, steps=steps, ids=features.ids)
        speed = stats.num_examples / stats.seconds
        yield f"{who}: epoch {number + 1}/{train.epochs}  loss {stats.mean_loss:.3f}  {speed:.0f} examples/s"
    export(space, task, engine, name, replace(made, data=data), tokenizer=tokenizer, probe=features)
    engine.destroy()
