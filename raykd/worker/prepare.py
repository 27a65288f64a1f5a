"""What points share, made before any of them starts: generation 0, its scores, its signals."""

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from raykd.config.digest import digest
from raykd.config.identity import Identity
from raykd.config.point import PointBase
from raykd.data.batching import order_epoch, widths
from raykd.errors import DataError
from raykd.models.tokenizer import tokenizer_hash
from raykd.results.artifacts import ArtifactRecord, hash_folder
from raykd.results.models import locate_model
from raykd.tasks import task_of
from raykd.tasks.task import Places
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine
from raykd.worker.handoff import (
    BUILTIN_TINY,
    Snapshot,
    build_engine,
    export,
    first_student,
    given_model,
    given_teacher,
    load,
)
from raykd.worker.loop import EpochData, Timeline, WeightedLoss, train_epoch
from raykd.worker.passes import num_missing, outputs, score_base, teacher_signals
from raykd.worker.testing import score_bases_on_tests
from raykd.worker.training import loss_terms, refuse_nan


def prepare(context: WorkerContext, points: Sequence[Identity]) -> Iterator[str]:
    """Make what points with one base teacher share. Yields a line for each thing made."""
    example, base = points[0].config, points[0].base
    if context.from_rank_0(context.store.has(base, strict=True)):
        _refuse_changed_model(context, "base.model", example.base.model, base)
    else:
        note = yield from _make_base(context, points[0])
        yield f"generation 0 is ready ({', '.join(filter(None, (example.base.model, note)))})"
    for point in {tuple(point.first_teachers): point for point in points}.values():
        yield from _make_teachers(context, point)
    for point in {point.student: point for point in points}.values():
        yield from _make_student(context, point)
    for point in {point.scores: point for point in points}.values():
        yield f"generation 0 scores {score_base(context, point).final.headline}"
    yield from score_bases_on_tests(context, points)
    windows = 0
    for point in points:
        for teacher in point.first_teachers if point.config.stores_signals else ():
            missing = context.from_rank_0(num_missing(context, teacher, point))
            if missing:
                teacher_signals(context, (teacher,), point, in_memory=None)
                windows += missing
    if windows:
        yield f"signals of the first teachers are stored ({windows} windows)"


def _make_teachers(context: WorkerContext, point: Identity) -> Iterator[str]:
    """Train or take the teachers of generation 1 that are not there yet."""
    for teacher, language in point.first_teachers.items():
        given = point.given_teachers.get(teacher)
        is_there = context.from_rank_0(context.store.has(teacher, strict=given is not None))
        if given is not None and is_there:
            _refuse_changed_model(context, "given teacher", given, teacher)
        elif given is not None:
            yield _take_teacher(context, point.config, given, name=teacher)
        elif not is_there:
            yield from _train_teacher(context, point, teacher, language)


def _make_base(context: WorkerContext, point: Identity) -> Generator[str, None, str]:
    """Take the given model as generation 0, or train it on labels, with a line for every epoch.

    Returns:
        What its task notes of it.
    """
    config, name = point.config, point.base
    model, tokenizer = given_model(context, config)
    note: str = task_of(config).model.note(model)
    record = ArtifactRecord(
        kind="base",
        config=config.base.model_dump(mode="json"),
        given=_given_files(context, config.base.model),
        tokenizer=tokenizer_hash(tokenizer),
    )
    if config.label_training is not None and name in point.generation_zero:
        who = "generation 0"
        yield from _train(context, point, name, model, record, tokenizer=tokenizer, language=None, who=who)
    else:
        _keep(context, name, model, record, tokenizer=tokenizer)
    return note


def _make_student(context: WorkerContext, point: Identity) -> Iterator[str]:
    """Make the first student where it is not generation 0, and is not there yet."""
    config, name = point.config, point.student
    given = config.student.model
    if context.from_rank_0(context.store.has(name, strict=given is not None)):
        if given is not None:
            _refuse_changed_model(context, "student.model", given, name)
        return
    model, tokenizer, covered = first_student(context, point)
    record = ArtifactRecord(
        kind="student",
        vocabulary=asdict(covered) if covered is not None else None,
        config=config.student.model_dump(mode="json"),
        model=given,
        given=_given_files(context, given) if given is not None else {},
        base=point.base,
        tokenizer=tokenizer_hash(tokenizer),
    )
    _keep(context, name, model, record, tokenizer=tokenizer)
    pieces = "" if covered is None else f", {covered.kept:,} of {covered.total:,} pieces"
    yield f"the student is ready ({_size_of(model)}{pieces})"


def _size_of(model: Any) -> str:
    """How large a model is, for a line of progress."""
    embeddings = model.get_input_embeddings().weight.numel()
    total, layers = sum(weight.numel() for weight in model.parameters()), model.config.get_text_config()
    return (
        f"{layers.num_hidden_layers} layers of width {layers.hidden_size}, {total / 1e6:.1f} million weights, of which "
        f"{embeddings / 1e6:.1f} are embeddings"
    )


def _keep(context: WorkerContext, name: str, model: Any, record: ArtifactRecord, *, tokenizer: Any) -> None:
    """A model as it is, as an artifact."""
    if context.rank == 0:
        with context.store.committing(name, lambda: record) as folder:
            model.save_pretrained(folder, state_dict=model.state_dict())
            tokenizer.save_pretrained(folder)
    context.barrier()


def _take_teacher(context: WorkerContext, config: PointBase, given: str, *, name: str) -> str:
    """Take a given model as the teacher of generation 1, under a name."""
    model, tokenizer = given_teacher(context, config, given)
    record = ArtifactRecord(
        kind="teacher", model=given, given=_given_files(context, given), tokenizer=tokenizer_hash(tokenizer)
    )
    _keep(context, name, model, record, tokenizer=tokenizer)
    return f"the teacher is ready ({given})"


def _given_files(context: WorkerContext, model: str) -> dict[str, str]:
    """Hash of every file of a given model folder; none for a Hub id and the built-in model."""
    if model == BUILTIN_TINY:
        return {}
    folder = Path(locate_model(model, folder=context.folder))
    return hash_folder(folder) if folder.is_dir() else {}


def _refuse_changed_model(context: WorkerContext, key: str, model: str, name: str) -> None:
    recorded, found = context.store.record(name).given, _given_files(context, model)
    if recorded != found:
        changed = sorted(file for file in recorded.keys() | found.keys() if recorded.get(file) != found.get(file))
        raise DataError(
            f"{key} {model}: {', '.join(changed)} changed since this sweep began; "
            "use another storage, or restore the model"
        )


def _train_teacher(context: WorkerContext, point: Identity, name: str, language: str | None) -> Iterator[str]:
    """Train a teacher on labels, of one language or of all, from the model that students start from."""
    config, train = point.config, point.config.label_training
    assert train is not None, "there is no other way to make a teacher"
    train = train.model_copy(update={"seed": config.label_seed(point.base, name)})
    torch.manual_seed(train.seed)
    model, tokenizer = load(context, config, point.base, dropout=train.dropout), context.tokenizer(point.base)
    record = ArtifactRecord(
        kind="teacher",
        base=point.base,
        language=language,
        train=train.model_dump(mode="json"),
        tokenizer=tokenizer_hash(tokenizer),
    )
    who = f"teacher {language or 'of all languages'}"
    yield from _train(
        context, point, name, model, record, tokenizer=tokenizer, language=language, who=who, seed=train.seed
    )


def _dev_score(context: WorkerContext, engine: Engine, point: Identity, tokenizer: Any, language: str | None) -> float:
    """The main score of a teacher under training on what is scored after every epoch, or that of its language."""
    section, base = point.config.selection_set, context.store.artifact(point.base)
    task, places = task_of(point.config), Places(context.folder, base, base)
    key = "scored for teachers", point.base, digest(point.config.score_recipe(section))
    # Generation 0 is no artifact yet where it is what is trained.
    whole = context.remember(key, lambda: task.data.scored_set(point.config, section, tokenizer, places=places))
    scored = whole.first(section.epoch_max_items) if section.epoch_max_items else whole
    predictions: list[Any] = []
    for micro, batch, answered in outputs(context, task, engine, scored.features, tokens=section.batch_tokens):
        predictions += task.learning.predict(answered, batch, micro.indices, section)
    found = task.learning.score(context.from_all_ranks(predictions), scored, section).scores
    value = found.cell_values().get(language, found.main_value) if language is not None else found.main_value
    return -math.inf if value is None else value


def _train(
    context: WorkerContext,
    point: Identity,
    name: str,
    model: Any,
    record: ArtifactRecord,
    *,
    tokenizer: Any,
    language: str | None,
    who: str,
    seed: int | None = None,
) -> Iterator[str]:
    """Train a model on labels and export it, after its best epoch or the last one; with a line for every epoch.

    Args:
        seed: None takes that of the section.
    """
    config, task = point.config, task_of(point.config)
    train = config.label_training
    assert train is not None and task.labelled is not None, "asked for where a teacher is trained"
    train = train if seed is None else train.model_copy(update={"seed": seed})
    features, data = task.labelled.labelled(config, tokenizer, model, folder=context.folder, language=language)
    lengths = widths(features.lengths, train, max_length=config.data.max_length)
    epochs = [order_epoch(lengths, train, seed=train.seed, epoch=epoch) for epoch in range(train.epochs)]
    total, done = sum(map(len, epochs)), 0
    engine = build_engine(model, train, config.compute)
    loss = WeightedLoss(loss_terms(task, config.distillation, padding=train.pads_to_max))
    scores: list[float] = []
    best: Snapshot | None = None
    for number, steps in enumerate(epochs):
        stats = train_epoch(
            engine,
            EpochData(steps, features, lengths),
            loss=loss,
            batching=train,
            timeline=Timeline(first_step=done, total_steps=total, schedule_start=0, schedule_steps=total),
            seed=train.seed,
        )
        done += len(steps)
        refuse_nan(stats.losses, who, steps=steps, ids=features.ids)
        said = ""
        if config.chooses_teacher_epochs:
            scores.append(_dev_score(context, engine, point, tokenizer, language))
            said = f"  selection {scores[-1]:.1f}"
            if train.deliver != "last" and scores.index(max(scores)) == number:
                best = Snapshot.of(context, task, engine, features)
        speed = stats.num_examples / stats.seconds
        yield f"{who}: epoch {number + 1}/{train.epochs}  loss {stats.mean_loss:.3f}{said}  {speed:.0f} examples/s"
        if train.is_out_of_patience(scores) and number + 1 < len(epochs):
            yield f"{who}: ended early, as no epoch was better than epoch {scores.index(max(scores)) + 1}"
            break
    record = replace(record, data=data, dev_score=max(scores) if best else scores[-1] if scores else None)
    if best is not None:
        best.write(context, task, engine, name, record, tokenizer=tokenizer)
    else:
        export(context, task, engine, name, record, tokenizer=tokenizer, probe=features)
    engine.destroy()
