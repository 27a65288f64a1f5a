"""What a sweep needs and would cost, found out before anything starts."""

import json
import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from raykd.artifacts import fingerprint, hash_folder
from raykd.config.point import PointConfig
from raykd.cost import Cost, Estimate, Sizes, TextSizes, estimate
from raykd.data.sources import check_model, locate_model
from raykd.errors import ConfigError, DataError
from raykd.plan import Plan, Point
from raykd.records import read_records
from raykd.tasks.readers import READERS

BUILTIN_PARAMETERS = 900_000
BUILTIN_WIDTH = 64


@dataclass(frozen=True)
class Speed:
    """Tokens a second, padding counted, that one point trains on, and where that number is from."""

    tokens_per_second: float
    source: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tokens_per_second) and self.tokens_per_second > 0):
            raise ConfigError(f"--tokens-per-second {self.tokens_per_second:g}: a number above 0 is needed")


ASSUMED_SPEED = Speed(2_500.0, "assumed: an encoder of 6 layers of width 384 on two CPU cores in bf16")


def measured_speed(root: Path | str) -> Speed:
    """How fast the points of an earlier sweep trained: the median over their epochs.

    Raises:
        ConfigError: if no epoch of it was trained.
        ArtifactError: if there is no sweep.
    """
    records = read_records(root)
    found = [epoch["tokens_per_second"] for point in records.points for epoch in point.epochs]
    if not found:
        raise ConfigError(f"--like {root}: no point of that sweep has trained an epoch yet; give --tokens-per-second")
    models = dict.fromkeys(point.config["base"]["model"] for point in records.points if point.epochs)
    return Speed(median(found), f"the median epoch of {root}, which trains {', '.join(models)}")


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
        num_strangers: teachers of generation 1 that are not generation 0: the English encoder of task parallel.
        executors: (executor, why, number of points).
        speed: what the times rest on.
        wall_seconds: from begin to end, with `parallel` points at a time.
        unit: what hours are counted and paid in: `GPU` where a point uses any, else `CPU`.
        money: price an hour times hours; None without a price.
        problems: all that is missing or wrong about data and models, one line each.
    """

    name: str
    points: tuple[Point, ...]
    is_exact: bool
    num_generation_zero: int
    num_strangers: int
    num_signal_passes: int
    executors: tuple[tuple[str, str, int], ...]
    estimate: Estimate
    methods: tuple[MethodPreview, ...]
    speed: Speed
    parallel: int
    wall_seconds: float | None
    unit: str
    money: float | None
    problems: tuple[str, ...]

    def hours(self, cost: Cost) -> float:
        """Of a cost, in the sweep's unit."""
        return cost.gpu_hours if self.unit == "GPU" else cost.cpu_hours


@dataclass(frozen=True)
class _Inspection:
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
    found = _inspect(plan, folder)
    if found.problems:
        raise DataError(found.problems)
    return found.hashes


def preview(
    plan: Plan,
    *,
    folder: Path,
    speed: Speed = ASSUMED_SPEED,
    parallel: int | None = None,
    price: float | None = None,
    on_gpus: bool = False,
) -> Preview:
    """What a plan would run and cost; what is missing or wrong is in `problems`.

    Args:
        parallel: points at a time; None takes `search.max_concurrent`, or 1.
        price: of an hour of a GPU, or of a CPU where no point uses GPUs.
        on_gpus: a worker takes a GPU where the file leaves that open.
    """
    found = _inspect(plan, folder)
    cost = estimate(plan, _sizes(plan, found, folder), tokens_per_second=speed.tokens_per_second, on_gpus=on_gpus)
    total, parallel = cost.total, parallel or plan.sweep.search.max_concurrent or 1
    unit = "GPU" if total and total.gpu_hours else "CPU"

    def money(part: Cost | None) -> float | None:
        if price is None or part is None:
            return None
        return price * (part.gpu_hours if unit == "GPU" else part.cpu_hours)

    methods = []
    for method, points in _by_method(plan.points).items():
        each = sum((cost.points[point.id] for point in points), Cost()) if cost.points is not None else None
        methods.append(MethodPreview(method, len(points), each, money(each)))
    kinds = list(plan.executors.values())
    return Preview(
        name=plan.sweep.name,
        points=plan.points,
        is_exact=plan.is_exact,
        num_generation_zero=len(plan.generation_zero),
        num_strangers=len(plan.first_teachers - plan.generation_zero),
        num_signal_passes=plan.num_signal_passes,
        executors=tuple((*kind, kinds.count(kind)) for kind in sorted(set(kinds))),
        estimate=cost,
        methods=tuple(methods),
        speed=speed,
        parallel=parallel,
        wall_seconds=cost.wall_seconds(parallel),
        unit=unit,
        money=money(total),
        problems=found.problems,
    )


def _by_method(points: Iterable[Point]) -> dict[str, list[Point]]:
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.method, []).append(point)
    return groups


def _sizes(plan: Plan, found: _Inspection, folder: Path) -> Sizes:
    known = {"total_items": min(found.items, default=None), "texts": found.texts, "num_labelled": found.num_labelled}
    if found.problems:
        return Sizes(**known)
    config = next((each.config for each in plan.points if each.config.distillation.uses_teacher), plan.points[0].config)
    student, teacher = config.base.model, config.teacher.model
    known["num_parameters"] = count_parameters(student, folder=folder)
    if config.task == "parallel" and config.distillation.uses_teacher:
        known["teacher_parameters"] = count_parameters(teacher, folder=folder)
        known["widths"] = _width(teacher, folder=folder), _width(student, folder=folder)
    return Sizes(**known)


def _inspect(plan: Plan, folder: Path) -> _Inspection:
    """Read and find everything that the points name."""
    hashes: dict[str, str] = {}
    problems: dict[str, None] = {}
    sizes: list[int] = []
    texts = TextSizes()
    labelled: list[int] = []

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
            texts = reader.texts(items)
            hashes[f"data {key}"] = read[2]
            for _, same in _grouped(group, lambda config: config.data.budget):
                attempt(reader.budget, same[0], items)
        for inner, same in _grouped(group, _scored_alike):
            hashes |= _named(f"evaluation {inner}", attempt(reader.dev, same[0], items))
        trained = [config for config in group if config.base.train]
        for inner, same in _grouped(trained, lambda config: config.base.train):
            if counted := attempt(reader.labelled, same[0], items):
                labelled.append(counted[0])
                hashes[f"base.train {inner}"] = counted[1]
    models = dict.fromkeys(model for config in configs for model in _models(config))
    for model in models:
        if not model.startswith("builtin:"):
            attempt(check_model, model)
    attempt(READERS[configs[0].task].models, configs)
    # Points take this model when they start, which may be days apart; base.model and teacher.model are copied at first.
    for model in dict.fromkeys(config.student.model for config in configs if config.student.model):
        hashes |= _named(f"student.model {model}", attempt(_hash_model, model))
    return _Inspection(tuple(sizes), hashes, tuple(problems), texts, max(labelled, default=None))


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

    return vector_size(locate_model(model, folder=folder))


def _grouped(
    configs: Iterable[PointConfig], key: Callable[[PointConfig], Any]
) -> Iterable[tuple[str, list[PointConfig]]]:
    groups: dict[str, list[PointConfig]] = {}
    for config in configs:
        groups.setdefault(repr(key(config)), []).append(config)
    return groups.items()
