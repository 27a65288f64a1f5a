"""What a sweep needs and would cost, found out before anything starts."""

import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from raykd.artifacts import fingerprint, hash_folder
from raykd.config.point import PointConfig
from raykd.data.sources import check_model, locate_model
from raykd.errors import DataError
from raykd.plan import Plan, estimate
from raykd.tasks.readers import READERS

BUILTIN_PARAMETERS = 900_000
TOKENS_PER_SECOND = 2_500.0
"""Training speed of a 6 x 384 encoder on two CPU cores in bf16: the estimate where none is given."""


def check_data(plan: Plan, *, folder: Path) -> dict[str, str]:
    """Find and read every data set, and find every model, that the points name.

    Returns:
        Data set, as a section of the file says it, or `student.model NAME` -> hash of what it holds.

    Raises:
        DataError: with all that is missing or wrong, over all of them.
    """
    _, hashes, problems, _ = _inspect(plan, folder)
    if problems:
        raise DataError(problems)
    return hashes


def preview(plan: Plan, *, folder: Path, tokens_per_second: float | None) -> Iterator[str]:
    """Lines that say what a sweep file would run: points, passes, executor and why, steps, time, disk.

    Raises:
        DataError: after the last line, if data or models are missing or wrong.
    """
    drawn = "" if plan.is_exact else ", chosen by the searcher while the sweep runs"
    yield f"{plan.sweep.name}: {len(plan.points)} point(s) of {len(plan.sweep.methods) or 1} method(s){drawn}"
    yield f"  generation 0: {plan.num_first_teachers} teacher(s), each made once"
    yield f"  teacher passes: {plan.num_signal_passes} stored signal pass(es)"
    for executor, reason in sorted(set(plan.executors.values())):
        count = list(plan.executors.values()).count((executor, reason))
        yield f"  executor {executor}: {count} point(s), {reason}"
    sizes, _, problems, mean_tokens = _inspect(plan, folder)
    parameters = None if problems else count_parameters(plan.points[0].config, folder=folder)
    speed = tokens_per_second or TOKENS_PER_SECOND
    known = {"total_items": min(sizes, default=None), "num_parameters": parameters, "mean_tokens": mean_tokens}
    cost = estimate(plan, tokens_per_second=speed, **known)
    if cost.examples is not None:
        yield f"  training: {cost.examples:,} examples in {cost.steps:,} steps over all points and epochs"
    if cost.seconds is not None:
        assumed = "" if tokens_per_second else " (assumed; give yours with --tokens-per-second)"
        yield f"  time: {_duration(cost.seconds)} at {speed:,.0f} tokens/s{assumed}, start-up and scoring not counted"
    if cost.disk_bytes is not None:
        yield f"  disk: {cost.disk_bytes / 1e9:.1f} GB"
    if problems:
        raise DataError(problems)


def _inspect(plan: Plan, folder: Path) -> tuple[list[int], dict[str, str], list[str], float | None]:
    """Items of each training source, hashes as of `check_data`, all that is wrong, and tokens of a feature."""
    hashes: dict[str, str] = {}
    problems: dict[str, None] = {}
    sizes: list[int] = []
    mean_tokens: float | None = None

    def attempt(check: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return check(*arguments, **options, folder=folder)
        except DataError as error:
            problems.update(dict.fromkeys(error.problems))
            return None

    configs = [point.config for point in plan.points]
    for key, group in _grouped(configs, _read_alike):
        reader = READERS[group[0].task]
        read = attempt(reader.items, group[0])
        items = read[0] if read else None
        if read:
            sizes.append(read[1])
            mean_tokens = reader.mean_tokens(items)
            hashes[f"data {key}"] = read[2]
            for _, same in _grouped(group, lambda config: config.data.budget):
                attempt(reader.budget, same[0], items)
        for inner, same in _grouped(group, _scored_alike):
            hashes |= _named(f"evaluation {inner}", attempt(reader.dev, same[0], items))
        trained = [config for config in group if config.base.train]
        for inner, same in _grouped(trained, lambda config: config.base.train):
            hashes |= _named(f"base.train {inner}", attempt(reader.labelled, same[0], items))
    models = dict.fromkeys(model for config in configs for model in _models(config))
    for model in models:
        if not model.startswith("builtin:"):
            attempt(check_model, model)
    attempt(READERS[configs[0].task].models, configs)
    # Points take this model when they start, which may be days apart; base.model and teacher.model are copied at first.
    for model in dict.fromkeys(config.student.model for config in configs if config.student.model):
        hashes |= _named(f"student.model {model}", attempt(_hash_model, model))
    return sizes, hashes, list(problems), mean_tokens


def _read_alike(config: PointConfig) -> tuple[Any, ...]:
    """What the training data of a point is read by."""
    data = config.data
    return data.train, data.languages, data.columns, *([data.pivot] if config.task == "parallel" else [])


def _scored_alike(config: PointConfig) -> Any:
    """What the dev set of a point is read by."""
    return (config.evaluation, config.data.pivot) if config.task == "parallel" else config.evaluation


def _models(config: PointConfig) -> list[str]:
    """The models that a point names."""
    taught = config.task == "parallel" and config.distillation.uses_teacher
    named = (config.base.model, config.student.model, config.teacher.model if taught else None)
    return [model for model in named if model]


def _hash_model(name: str, *, folder: Path) -> str | None:
    """Hash of all files of a model folder; None for a Hub id."""
    located = Path(locate_model(name, folder=folder))
    return fingerprint(hash_folder(located)) if located.is_dir() else None


def _named(name: str, value: str | None) -> dict[str, str]:
    return {} if value is None else {name: value}


def count_parameters(config: PointConfig, *, folder: Path) -> int | None:
    """Weights of the base model, from the headers of its safetensors files; None where it has none here."""
    if config.base.model.startswith("builtin:"):
        return BUILTIN_PARAMETERS
    files = sorted(Path(locate_model(config.base.model, folder=folder)).glob("*.safetensors"))
    total = 0
    for file in files:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        total += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return total or None


def _grouped(
    configs: Iterable[PointConfig], key: Callable[[PointConfig], Any]
) -> Iterable[tuple[str, list[PointConfig]]]:
    groups: dict[str, list[PointConfig]] = {}
    for config in configs:
        groups.setdefault(repr(key(config)), []).append(config)
    return groups.items()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
