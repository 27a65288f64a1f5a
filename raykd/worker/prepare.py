"""What points share, made before any of them starts: generation 0, its scores, its signals."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from raykd.config.identity import first_teachers
from raykd.config.point import PointConfig
from raykd.errors import DataError
from raykd.results.artifacts import hash_folder
from raykd.results.journal import headline
from raykd.results.models import locate_model
from raykd.tasks.task import TASKS
from raykd.worker.context import WorkerContext, tokenizer_hash
from raykd.worker.handoff import BUILTIN_TINY, build_engine, export, given_model, given_teacher, load
from raykd.worker.loop import order_epoch, train_epoch
from raykd.worker.passes import num_missing, score_base, scores_path, teacher_signals
from raykd.worker.training import loss_terms, refuse_nan, widths


def prepare(context: WorkerContext, base: str, configs: Sequence[PointConfig]) -> Iterator[str]:
    """Make what points with one base teacher share. Yields a line for each thing made."""
    if context.from_rank_0(context.store.has(base, strict=True)):
        _refuse_changed_model(context, "base.model", configs[0].base.model, base)
    else:
        yield from _make_base(context, configs[0], base)
        yield f"generation 0 is ready ({configs[0].base.model})"
    for config in {tuple(first_teachers(config)): config for config in configs}.values():
        yield from _make_teachers(context, config, base)
    for config in {scores_path(base, config): config for config in configs}.values():
        yield f"generation 0 scores {headline(score_base(context, base, config)['final'])}"
    windows = 0
    for config in configs:
        if config.distillation.uses_teacher and config.distillation.signals == "stored":
            for teacher in first_teachers(config):
                missing = context.from_rank_0(num_missing(context, teacher, config, base))
                if missing:
                    teacher_signals(context, (teacher,), config, base, in_memory=None)
                    windows += missing
    if windows:
        yield f"the first teachers' signals over {windows} windows are stored"


def _make_teachers(context: WorkerContext, config: PointConfig, base: str) -> Iterator[str]:
    """Train or take the teachers of generation 1 that are not there yet."""
    for teacher, language in first_teachers(config).items():
        given = config.task == "parallel" and teacher != base
        is_there = context.from_rank_0(context.store.has(teacher, strict=given))
        if given:
            if is_there:
                _refuse_changed_model(context, "teacher.model", config.teacher.model, teacher)
            else:
                yield _take_teacher(context, config, teacher)
        elif not is_there:
            yield from _train_teacher(context, config, base, teacher, language)


def _make_base(context: WorkerContext, config: PointConfig, name: str) -> Iterator[str]:
    """Take the given model as generation 0, or train it on labels, with a line for every epoch."""
    model, tokenizer = given_model(context, config)
    recipe = {
        "kind": "base",
        "config": config.base.model_dump(mode="json"),
        "given": _given_files(context, config.base.model),
        "tokenizer": tokenizer_hash(tokenizer),
    }
    trained = config.base.train is not None and config.task == "qa"
    if trained:
        yield from _train(
            context, config, name, model, recipe, tokenizer=tokenizer, language=config.base.train.language
        )
    else:
        _keep(context, name, model, recipe, tokenizer=tokenizer)


def _keep(context: WorkerContext, name: str, model: Any, recipe: dict[str, Any], *, tokenizer: Any) -> None:
    """A model as it is, as an artifact."""
    if context.rank == 0:
        with context.store.committing(name, lambda: recipe) as folder:
            model.save_pretrained(folder, state_dict=model.state_dict())
            tokenizer.save_pretrained(folder)
    context.barrier()


def _take_teacher(context: WorkerContext, config: PointConfig, name: str) -> str:
    """Take a given model as the teacher of generation 1."""
    model, tokenizer = given_teacher(context, config)
    recipe = {
        "kind": "teacher",
        "config": config.teacher.model_dump(mode="json"),
        "given": _given_files(context, config.teacher.model),
        "tokenizer": tokenizer_hash(tokenizer),
    }
    _keep(context, name, model, recipe, tokenizer=tokenizer)
    return f"the teacher is ready ({config.teacher.model})"


def _given_files(context: WorkerContext, model: str) -> dict[str, str]:
    """Hash of every file of a given model folder; none for a Hub id and the built-in model."""
    if model == BUILTIN_TINY:
        return {}
    folder = Path(locate_model(model, folder=context.folder))
    return hash_folder(folder) if folder.is_dir() else {}


def _refuse_changed_model(context: WorkerContext, key: str, model: str, name: str) -> None:
    recorded, found = context.store.record(name)["given"], _given_files(context, model)
    if recorded != found:
        changed = sorted(file for file in recorded.keys() | found.keys() if recorded.get(file) != found.get(file))
        raise DataError(
            f"{key} {model}: {', '.join(changed)} changed since this sweep began; "
            "give the sweep another storage, or put the model back"
        )


def _train_teacher(
    context: WorkerContext, config: PointConfig, base: str, name: str, language: str | None
) -> Iterator[str]:
    """Train a teacher on labels, of one language or of all, from the model that students start from."""
    torch.manual_seed(config.base.train.seed)
    model = load(context, config, base, dropout=config.base.train.dropout)
    recipe = {"kind": "teacher", "base": base, "language": language, "train": config.base.train.model_dump(mode="json")}
    yield from _train(context, config, name, model, recipe, tokenizer=context.tokenizer(base), language=language)


def _train(
    context: WorkerContext,
    config: PointConfig,
    name: str,
    model: Any,
    recipe: dict[str, Any],
    *,
    tokenizer: Any,
    language: str | None,
) -> Iterator[str]:
    """Train a model on labels and export it, with a line for every epoch."""
    train, task = config.base.train, TASKS[config.task]
    who = "generation 0" if config.task == "qa" else f"teacher {language or 'of all languages'}"
    features, data = task.labelled(config, tokenizer, model, folder=context.folder, language=language)
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
    record = {**recipe, "tokenizer": tokenizer_hash(tokenizer), "data": data}
    export(context, task, engine, name, record, tokenizer=tokenizer, probe=features)
    engine.destroy()
