"""Finds and reads everything that the points of a plan name."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from raykd.config.digest import dump
from raykd.config.point import PointBase
from raykd.errors import DataError
from raykd.plan.points import Plan
from raykd.results.artifacts import fingerprint, hash_folder
from raykd.results.models import check_model, locate_model, positions_of
from raykd.tasks import task_of
from raykd.tasks.sizes import TextSizes


@dataclass(frozen=True)
class Inspection:
    """What reading all data and finding all models showed; `hashes` as of `check_data`."""

    items: tuple[int, ...]
    hashes: dict[str, str]
    problems: tuple[str, ...]
    texts: TextSizes
    num_labelled: int | None


def check_data(plan: Plan, *, folder: Path) -> dict[str, str]:
    """Find and read every data set, and find every model, that the points name.

    Returns:
        Data set, as a section of the file says it, or `student.model NAME` -> hash of what it holds.

    Raises:
        DataError: with all that is missing or wrong, over all of them.
    """
    found = inspect(plan, folder)
    if found.problems:
        raise DataError(found.problems)
    return found.hashes


def inspect(plan: Plan, folder: Path) -> Inspection:
    """Read and find everything that the points name."""
    hashes: dict[str, str] = {}
    problems: dict[str, None] = {}
    sizes: list[int] = []
    texts = TextSizes()
    labelled: list[int] = []

    def attempt(check: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return check() if isinstance(check, partial) else check(*arguments, folder=folder)
        except DataError as error:
            problems.update(dict.fromkeys(error.problems))
            return None

    configs = [point.config for point in plan.points]
    task = task_of(configs[0])
    for key, group in _grouped(configs, PointBase.items_recipe):
        read = attempt(task.data.items, group[0])
        items = read.all if read else None
        if read:
            sizes.append(read.count)
            texts = read.texts
            hashes[f"data {key}"] = read.sha256
            for _, same in _grouped(group, lambda config: config.data.budget):
                attempt(partial(task.data.draw, same[0], items))
        for inner, same in _grouped(group, PointBase.score_recipe):
            hashes |= _named(f"evaluation {inner}", attempt(task.data.hash_scored, same[0], items))
        for inner, same in _grouped((config for config in group if config.label_training), _label_recipe):
            assert task.labelled is not None, "a point that trains on labels is of a task that can"
            if counted := attempt(task.labelled.count_labelled, same[0], items):
                labelled.append(counted[0])
                hashes[f"base.train {inner}"] = counted[1]
    models = dict.fromkeys(model for config in configs for model in _models(config))
    for model in models:
        if not model.startswith("builtin:"):
            attempt(check_model, model)
    read = {(model, config.data.max_length) for config in configs for model in _students(config)}
    for model, most in sorted(read):
        attempt(_check_length, model, most)
    attempt(partial(task.data.check_models, configs, locate=partial(locate_model, folder=folder)))
    # Points take this model when they start, which may be days apart; base.model and teacher.model are copied at first.
    for model in dict.fromkeys(config.student.model for config in configs if config.student.model):
        hashes |= _named(f"student.model {model}", attempt(_hash_model, model))
    return Inspection(tuple(sizes), hashes, tuple(problems), texts, max(labelled, default=None))


def _label_recipe(config: PointBase) -> Any:
    return dump(config.label_training) if config.label_training else None


def _models(config: PointBase) -> list[str]:
    """The models that a point names."""
    return [model for model in (config.base.model, config.student.model, config.given_teacher) if model]


def _students(config: PointBase) -> list[str]:
    """The models that read windows of `data.max_length` tokens."""
    named = (config.base.model, config.student.model)
    return [model for model in named if model and not model.startswith("builtin:")]


def _check_length(model: str, most: int, *, folder: Path) -> None:
    """Refuse windows that are longer than what a model reads.

    Raises:
        DataError: naming both lengths.
    """
    positions = positions_of(model, folder=folder)
    if positions is not None and most > positions:
        raise DataError(f"data.max_length: got {most}; model {model} reads at most {positions} tokens")


def _hash_model(name: str, *, folder: Path) -> str | None:
    """Hash of all files of a model folder; None for a Hub id."""
    located = Path(locate_model(name, folder=folder))
    return fingerprint(hash_folder(located)) if located.is_dir() else None


def _named(name: str, value: str | None) -> dict[str, str]:
    return {} if value is None else {name: value}


def _grouped(configs: Iterable[PointBase], key: Callable[[PointBase], Any]) -> Iterable[tuple[str, list[PointBase]]]:
    groups: dict[str, list[PointBase]] = {}
    for config in configs:
        groups.setdefault(repr(key(config)), []).append(config)
    return groups.items()
