"""What a sweep would run and cost, with the data and models that it names."""

import json
import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from raykd.data.hub import commits_in
from raykd.errors import ConfigError
from raykd.plan.cost import Cost, Estimate, Sizes, estimate
from raykd.plan.inspection import Inspection, inspect
from raykd.plan.inspection import given_teachers as _given_teachers
from raykd.plan.points import Plan, Point
from raykd.results.models import described_model, locate_model
from raykd.results.records import read_records
from raykd.tasks import task_of

BUILTIN_PARAMETERS = 470_000
BUILTIN_WIDTH = 64


@dataclass(frozen=True)
class Speed:
    """Tokens a second, padding counted, that one point trains on, and where that number is from."""

    tokens_per_second: float
    source: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tokens_per_second) and self.tokens_per_second > 0):
            raise ConfigError(f"--tokens-per-second {self.tokens_per_second:g}: must be above 0")


ASSUMED_SPEED = Speed(2_500.0, "assumed: an encoder of 6 layers of width 384 on two CPU cores in bf16")
BUILTIN_SPEED = Speed(25_000.0, "assumed: the built-in model on a CPU core")


def _assumed_speed(plan: Plan) -> Speed:
    configs = [point.config for point in plan.points]
    speed = BUILTIN_SPEED if all(each.base.model.startswith("builtin:") for each in configs) else ASSUMED_SPEED
    passes = task_of(configs[0]).info.passes
    if passes == 1:
        return speed
    return Speed(speed.tokens_per_second / passes, f"{speed.source}; each example takes {passes} passes")


def measured_speed(root: Path | str) -> Speed:
    """How fast the points of an earlier sweep trained: the median over their epochs.

    Raises:
        ConfigError: if no epoch of it was trained.
        ArtifactError: if there is no sweep.
    """
    records = read_records(root)
    found = [epoch.tokens_per_second for point in records.points for epoch in point.epochs]
    if not found:
        raise ConfigError(f"--like {root}: no point of this sweep has finished an epoch yet; use --tokens-per-second")
    models = dict.fromkeys(point.settings.base_model for point in records.points if point.epochs)
    return Speed(median(found), f"median over the epochs of {root}, model {', '.join(models)}")


@dataclass(frozen=True)
class MethodPreview:
    """What the points of one method take together; `money` is None without a price."""

    method: str
    num_points: int
    cost: Cost | None
    money: float | None


@dataclass(frozen=True)
class Preview:
    """What a sweep file would run.

    Attributes:
        is_exact: False if a searcher chooses the points while the sweep runs.
        num_strangers: teachers of generation 1 that are not generation 0, but models that the file names.
        num_members: further teachers of ensembles, which are trained on labels as generation 0 is.
        executors: (executor, why, number of points).
        speed: what the times rest on.
        wall_seconds: from begin to end, with `parallel` points at a time.
        unit: what hours are counted and paid in: `GPU` where a point uses any, else `CPU`.
        money: price an hour times hours; None without a price.
        commits: `dataset ID@REVISION` or `model ID@REVISION` of the Hub -> the commit that it stands for.
        tests: names of the test sets; nothing is chosen by them.
        races: budgets whose configurations race, so that this is the most they run; 0 where they do not.
        unlabelled: language -> unlabelled items of the point that has the most; empty without any.
        vocabularies: what each trimmed one covers, a `raykd.models.vocabulary.Coverage`.
        problems: all that is missing or wrong about data and models, one line each.
    """

    name: str
    points: tuple[Point, ...]
    is_exact: bool
    num_generation_zero: int
    num_strangers: int
    num_members: int
    num_signal_passes: int
    executors: tuple[tuple[str, str, int], ...]
    estimate: Estimate
    methods: tuple[MethodPreview, ...]
    speed: Speed
    parallel: int
    wall_seconds: float | None
    unit: str
    money: float | None
    commits: dict[str, str]
    tests: tuple[str, ...]
    races: int
    unlabelled: dict[str, int]
    vocabularies: tuple[Any, ...]
    problems: tuple[str, ...]


def preview(
    plan: Plan,
    *,
    folder: Path,
    speed: Speed | None = None,
    parallel: int | None = None,
    price: float | None = None,
    on_gpus: bool = False,
) -> Preview:
    """What a plan would run and cost; what is missing or wrong is in `problems`.

    Args:
        speed: None assumes one.
        parallel: points at a time; None takes `search.max_concurrent`, or 1.
        price: of an hour of a GPU, or of a CPU where no point uses GPUs.
        on_gpus: a worker takes a GPU where the file leaves that open.
    """
    found = inspect(plan, folder)
    speed = speed or _assumed_speed(plan)
    cost = estimate(plan, _sizes(plan, found, folder), tokens_per_second=speed.tokens_per_second, on_gpus=on_gpus)
    total, parallel = cost.total, parallel or plan.sweep.search.max_concurrent or 1
    unit = "GPU" if total and total.gpu_hours else "CPU"

    methods = _methods(plan, cost, unit, price)
    num_others = len(plan.first_teachers - plan.generation_zero)
    is_trained = any(point.config.label_training for point in plan.points)
    kinds, budgets = list(plan.executors.values()), len({point.config.data.budget for point in plan.points})
    return Preview(
        name=plan.sweep.name,
        points=plan.points,
        is_exact=plan.is_exact,
        num_generation_zero=len(plan.generation_zero),
        num_strangers=0 if is_trained else num_others,
        num_members=num_others if is_trained else 0,
        num_signal_passes=plan.num_signal_passes,
        executors=tuple((*kind, kinds.count(kind)) for kind in sorted(set(kinds))),
        estimate=cost,
        methods=methods,
        speed=speed,
        parallel=parallel,
        wall_seconds=cost.wall_seconds(parallel),
        unit=unit,
        money=_money(total, unit, price),
        commits=commits_in(found.hashes),
        tests=tuple(dict.fromkeys(name for point in plan.points for name in point.config.test_sets)),
        races=budgets if plan.sweep.search.algorithm == "race" else 0,
        unlabelled=found.unlabelled,
        vocabularies=tuple(found.vocabularies),
        problems=found.problems,
    )


def _methods(plan: Plan, cost: Estimate, unit: str, price: float | None) -> tuple[MethodPreview, ...]:
    groups: dict[str, list[Point]] = {}
    for point in plan.points:
        groups.setdefault(point.method, []).append(point)
    found = []
    for method, points in groups.items():
        each = sum((cost.points[point.id] for point in points), Cost()) if cost.points is not None else None
        found.append(MethodPreview(method, len(points), each, _money(each, unit, price)))
    return tuple(found)


def _money(part: Cost | None, unit: str, price: float | None) -> float | None:
    return None if price is None or part is None else price * part.hours(unit)


def _sizes(plan: Plan, found: Inspection, folder: Path) -> Sizes:
    known = Sizes(total_items=min(found.items, default=None), texts=found.texts, num_labelled=found.num_labelled)
    if found.problems:
        return known
    config = next((each.config for each in plan.points if each.config.distillation.uses_teacher), plan.points[0].config)
    student, teacher = config.base.model, next(iter(_given_teachers(config)), None)
    known = replace(known, num_parameters=count_parameters(student, folder=folder))
    if teacher is None:
        return known
    widths = _width(teacher, folder=folder), _width(student, folder=folder)
    return replace(known, teacher_parameters=count_parameters(teacher, folder=folder), widths=widths)


def count_parameters(model: str, *, folder: Path) -> int | None:
    """Weights of a model, from the headers of its safetensors files; None where it has none here."""
    if model.startswith("builtin:"):
        return BUILTIN_PARAMETERS
    files = sorted(Path(locate_model(model, folder=folder)).glob("*.safetensors"))
    total = 0
    for file in files:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        total += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return total or None


def _width(model: str, *, folder: Path) -> int:
    """Numbers of an encoder's sentence vector."""
    if model.startswith("builtin:"):
        return BUILTIN_WIDTH
    # Only this needs torch; other plans do not wait for it.
    from raykd.models.encoder import vector_size

    return vector_size(str(described_model(model, folder=folder)))
