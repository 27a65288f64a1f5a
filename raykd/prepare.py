"""What points share, made before any of them starts: generation 0, its scores, its signals."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from raykd.artifacts import hash_folder
from raykd.config.point import PointConfig
from raykd.data.sources import locate_model
from raykd.errors import DataError
from raykd.handoff import BUILTIN_TINY, build_engine, export, given_model
from raykd.loop import order_epoch, train_epoch
from raykd.passes import num_missing, score_base, scores_path, teacher_signals
from raykd.tasks.task import TASKS
from raykd.training import loss_terms, refuse_nan, widths
from raykd.workspace import Workspace, tokenizer_hash


def prepare(space: Workspace, base: str, configs: Sequence[PointConfig]) -> Iterator[str]:
    """Make what points with one base teacher share. Yields a line for each thing made."""
    if space.from_rank_0(space.store.has(base)):
        _refuse_changed_model(space, configs[0], base)
    else:
        yield from _make_base(space, configs[0], base)
        yield f"generation 0 is ready ({configs[0].base.model})"
    for config in {scores_path(space.store, base, config): config for config in configs}.values():
        scores = score_base(space, base, config)["final"]
        yield f"generation 0 scores XLT F1 {scores['xlt_f1']:.1f}, G-XLT F1 {scores['gxlt_f1']:.1f}"
    windows = 0
    for config in configs:
        if config.distillation.uses_teacher and config.distillation.signals == "stored":
            missing = space.from_rank_0(num_missing(space, base, config, base))
            if missing:
                teacher_signals(space, (base,), config, base, in_memory=None)
                windows += missing
    if windows:
        yield f"generation 0's signals over {windows} windows are stored"


def _make_base(space: Workspace, config: PointConfig, name: str) -> Iterator[str]:
    """Take the given model as generation 0, or train it on labels, with a line for every epoch."""
    model, tokenizer = given_model(space, config)
    recipe = {
        "kind": "base",
        "config": config.base.model_dump(mode="json"),
        "given": _given_files(space, config),
        "tokenizer": tokenizer_hash(tokenizer),
    }
    if config.base.train is not None:
        yield from _train_base(space, config, name, model, tokenizer, recipe)
    elif space.rank == 0:
        with space.store.committing(name, lambda: recipe) as folder:
            model.save_pretrained(folder, state_dict=model.state_dict())
            tokenizer.save_pretrained(folder)
    space.barrier()


def _given_files(space: Workspace, config: PointConfig) -> dict[str, str]:
    """Hash of every file of a given model folder; none for a Hub id and the built-in model."""
    if config.base.model == BUILTIN_TINY:
        return {}
    folder = Path(locate_model(config.base.model, folder=space.folder))
    return hash_folder(folder) if folder.is_dir() else {}


def _refuse_changed_model(space: Workspace, config: PointConfig, name: str) -> None:
    recorded, found = space.store.record(name)["given"], _given_files(space, config)
    if recorded != found:
        changed = sorted(file for file in recorded.keys() | found.keys() if recorded.get(file) != found.get(file))
        raise DataError(
            f"base.model {config.base.model}: {', '.join(changed)} changed since this sweep began; "
            "give the sweep another storage, or put the model back"
        )


def _train_base(space: Workspace, config: PointConfig, name: str, model, tokenizer, recipe: dict) -> Iterator[str]:
    train, task = config.base.train, TASKS[config.task]
    features, data = task.labelled(train, config, tokenizer, folder=space.folder)
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
        refuse_nan(stats, "generation 0")
        speed = stats.num_examples / stats.seconds
        yield f"generation 0: epoch {number + 1}/{train.epochs}  loss {stats.mean_loss:.3f}  {speed:.0f} examples/s"
    export(space, task, engine, name, {**recipe, "data": data}, tokenizer=tokenizer, probe=features)
    engine.destroy()
