"""From a sweep to its points and to what they share. Pure: it reads nothing and starts nothing."""

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from raykd.config.base import Config
from raykd.config.digest import dump
from raykd.config.explain import Problem, show
from raykd.config.identity import Identity
from raykd.config.keys import at_path, merged, with_path
from raykd.config.point import PointBase
from raykd.errors import ConfigError
from raykd.plan.sweep import Choice, Grid, IntRange, LogUniform, SweepConfig, Uniform
from raykd.plan.vary import check_point
from raykd.tasks import TASKS

DEFAULT_METHOD = "default"
"""The method of a sweep that names none."""

_SHORT_NAMES = {"distillation.temperature": "T"}


@dataclass(frozen=True)
class Point(Identity):
    """One complete configuration of a sweep, under the name that its results have.

    Attributes:
        method: the method of the file, or `default` where the file has none.
        label: short and readable, like `skd T=2 budget=64 seed=1`.
        varied: the searched keys that have an influence on this point, and the seed, with their values.
    """

    method: str
    label: str
    varied: dict[str, Any]


def expand(sweep: SweepConfig) -> tuple[Point, ...]:
    """The points of a sweep: methods x draws x grid x seeds.

    Seeds vary slowest, so that every configuration has a result early; then methods, draws and the grid, in the
    order of the file, the last dimension fastest. All methods get the same draws. A key that a method sets wins over
    the search space and the seeds. Points that are the same come once, under the first one's label.

    With algorithm optuna the points are random draws from its space: how many there are and what they cost is as
    they say, their values are chosen while the sweep runs (`suggested_points`).

    Raises:
        ConfigError: if a combination of values is not allowed.
    """
    space = sweep.search.space
    grid = {key: dimension.grid for key, dimension in space.items() if isinstance(dimension, Grid)}
    seeds = sweep.seeds or (None,)
    base = dump(sweep.point)
    points: dict[str, Point] = {}
    problems: dict[str, None] = {}
    draws = list(_draws(sweep))
    for seed, method, draw, values in itertools.product(
        seeds, sweep.methods or (DEFAULT_METHOD,), draws, itertools.product(*grid.values())
    ):
        chosen = {**draw, **dict(zip(grid, values, strict=True))} | ({} if seed is None else {"seed": seed})
        try:
            point = _point(sweep, base, method, chosen)
            points.setdefault(point.id, point)
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise ConfigError(problems)
    if sweep.search.algorithm == "race":
        _refuse_several_sets(points.values())
    return tuple(points.values())


def _refuse_several_sets(points: Iterable[Point]) -> None:
    """Refuse a race of configurations that are scored on different items.

    Raises:
        ConfigError: naming two points.
    """
    first: dict[Any, Point] = {}
    for point in points:
        other = first.setdefault(point.config.data.budget, point)
        ours, theirs = (each.config.score_recipe(each.config.selection_set)["scored"] for each in (point, other))
        if ours != theirs:
            raise ConfigError(
                f"search.algorithm race compares {other.label} and {point.label} by other selection sets: give all of "
                "them the same `selection`"
            )


def suggested_points(sweep: SweepConfig, method: str, values: Mapping[str, Any]) -> list[Point]:
    """The points of a method (`default` where the file has none) with these values of dotted keys, one for each seed.

    Raises:
        ConfigError: if the combination is not allowed.
    """
    base, seeds = dump(sweep.point), [{"seed": seed} for seed in sweep.seeds or ()]
    points = [_point(sweep, base, method, {**seed, **values}) for seed in seeds or [{}]]
    # A method with a seed of its own has one point.
    return list({point.id: point for point in points}.values())


def typical_points(sweep: SweepConfig) -> list[Point]:
    """Points of each method with the file's own values: they stand for all that a searcher may suggest."""
    return [point for method in sweep.methods or (DEFAULT_METHOD,) for point in suggested_points(sweep, method, {})]


def _draws(sweep: SweepConfig) -> Iterator[dict[str, Any]]:
    """The random part of each point. Keys are drawn in sorted order: the order of the file does not matter."""
    space = sweep.search.space
    rng = random.Random(f"search:{sweep.search.seed}")
    for _ in range(sweep.search.num_points or 1):
        drawn = {key: _draw(space[key], rng) for key in sorted(space) if not isinstance(space[key], Grid)}
        yield {key: drawn[key] for key in space if key in drawn}


def _draw(dimension: Config, rng: random.Random) -> Any:
    """One value. Of a real number six digits: the last bits of a logarithm differ from machine to machine."""
    match dimension:
        case Choice(choice=values):
            return rng.choice(values)
        case IntRange(int_range=(low, high)):
            return rng.randint(low, high)
        case Uniform(uniform=(low, high)):
            value = rng.uniform(low, high)
        case LogUniform(log_uniform=(low, high)):
            value = math.exp(rng.uniform(math.log(low), math.log(high)))
    return min(max(float(f"{value:.6g}"), low), high)


def _point(sweep: SweepConfig, base: Mapping[str, Any], method: str, values: Mapping[str, Any]) -> Point:
    raw = base
    for key in sorted(values, key=lambda key: key.count(".")):
        raw = with_path(raw, tuple(key.split(".")), values[key])
    raw = merged(raw, sweep.methods[method] if sweep.methods else {})
    config, problems = check_point(TASKS[sweep.point.task], raw)
    if config is None:
        at = ", ".join(f"{key}: {show(value)}" for key, value in values.items())
        raise ConfigError(Problem((), f"method {method} with {at}: {problem.line()}").line() for problem in problems)
    identity, resolved = Identity(config), dump(config)
    keys = {
        key: tuple(key.split(".")) for key in dict.fromkeys([*sweep.search.space, *values, "seed"]) if key != "seed"
    }
    missing = object()
    varied = {
        key: at_path(resolved, path)
        for key, path in keys.items()
        if at_path(identity.recipe, path, missing) is not missing
    }
    varied["seed"] = config.seed
    return Point(config, method, _label(method, varied), varied)


def _label(method: str, varied: Mapping[str, Any]) -> str:
    last = [key.split(".")[-1] for key in varied]
    words = [method]
    for key, name in zip(varied, last, strict=True):
        value = varied[key]
        shown = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else show(value)
        words.append(f"{_SHORT_NAMES.get(key) or (name if last.count(name) == 1 else key)}={shown}")
    return " ".join(words)


@dataclass(frozen=True)
class Plan:
    """What a sweep will do.

    Args:
        points: see `expand`; with algorithm optuna they stand in for those that it will choose.
        bases: fingerprint of a generation 0 -> the first point that has it.
        signals: fingerprint of the stored signals of a generation 0 -> the first point that reads them.
        executors: point id -> the executor and why.
    """

    sweep: SweepConfig
    points: tuple[Point, ...]
    bases: Mapping[str, Point]
    signals: Mapping[str, Point]
    executors: Mapping[str, tuple[Literal["inline", "train"], str]]

    @property
    def is_exact(self) -> bool:
        """Whether the points are those that will run."""
        return self.sweep.search.algorithm != "optuna"

    @cached_property
    def generation_zero(self) -> frozenset[str]:
        """Fingerprints of the distinct models that generation 0 is."""
        return frozenset(name for point in self.points for name in point.generation_zero)

    @cached_property
    def first_teachers(self) -> frozenset[str]:
        """Fingerprints of the distinct teachers of generation 1: generation 0, or strangers (the English encoder)."""
        return frozenset(name for point in self.points for name in point.first_teachers)

    @cached_property
    def num_signal_passes(self) -> int:
        """Passes of a teacher over its training data that are stored: shared ones of generation 0, and later ones."""
        return len(self.signals) + sum(num_later_passes(point.config) for point in self.points)


def make_plan(sweep: SweepConfig) -> Plan:
    """Expand a sweep, and find what its points share.

    Raises:
        ConfigError: if a combination of values is not allowed.
    """
    points = expand(sweep)
    bases: dict[str, Point] = {}
    signals: dict[str, Point] = {}
    for point in points:
        bases.setdefault(point.base, point)
        if point.config.stores_signals:
            signals.setdefault(point.signals, point)
    return Plan(sweep, points, bases, signals, {point.id: _executor(point.config) for point in points})


def _executor(config: PointBase) -> tuple[Literal["inline", "train"], str]:
    compute, chosen = config.compute, config.compute.resolved_executor
    if compute.executor != "auto":
        return chosen, f"compute.executor is {chosen}"
    if chosen == "inline":
        return chosen, "one worker: runs in a reused process"
    few, many = compute.min_workers, compute.max_workers
    return chosen, f"{many if few == many else f'{few} to {many}'} workers: run in a Ray Train worker group"


def num_later_passes(config: PointBase) -> int:
    """Stored passes of the teachers after the first ones, the point's own."""
    has_later = config.stores_signals and config.lineage.teacher != "fixed"
    return config.lineage.num_generations - 1 if has_later else 0
