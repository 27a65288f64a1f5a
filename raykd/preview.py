"""What a sweep needs and would cost, found out before anything starts."""

import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from raykd.config.point import PointConfig
from raykd.data.sources import locate_model
from raykd.errors import DataError
from raykd.plan import Plan, estimate
from raykd.tasks.qa_data import load_cells, load_items, load_labelled, load_train

BUILTIN_PARAMETERS = 900_000
TOKENS_PER_SECOND = 2_500.0
"""Training speed of a 6 x 384 encoder on two CPU cores in bf16: the estimate where none is given."""


def check_data(plan: Plan, *, folder: Path) -> dict[str, int]:
    """Find and read every data set and every model that the points name.

    Returns:
        Training source -> parallel items.

    Raises:
        DataError: with all that is missing or wrong, over all of them.
    """
    problems: dict[str, None] = {}
    sizes: dict[str, int] = {}

    def attempt(check: Callable[[], Any]) -> Any:
        try:
            return check()
        except DataError as error:
            problems.update(dict.fromkeys(error.problems))
            return None

    configs = [point.config for point in plan.points]
    for config in _distinct(configs, lambda config: (config.data.train, config.data.languages)):
        items = attempt(lambda config=config: load_items(config.data, folder=folder))
        if items is None:
            continue
        sizes[_source_key(config)] = len(items)
        same = [other for other in configs if _source_key(other) == _source_key(config)]
        for other in _distinct(same, lambda other: other.data.budget):
            attempt(
                lambda other=other, items=items: load_train(
                    other.data, seed=other.data_seed, folder=folder, items=items
                )
            )
    for config in _distinct(configs, lambda config: config.evaluation):
        attempt(lambda config=config: load_cells(config.evaluation, folder=folder))
    for config in _distinct(configs, lambda config: (config.base, config.student)):
        for model in filter(None, (config.base.model, config.student.model)):
            if not model.startswith("builtin:"):
                attempt(lambda model=model: _check_model(model, folder))
        if config.base.train:
            attempt(lambda config=config: load_labelled(config.base.train, folder=folder))
    if problems:
        raise DataError(problems)
    return sizes


def preview(plan: Plan, *, folder: Path, tokens_per_second: float | None) -> Iterator[str]:
    """Lines that say what a sweep file would run: points, passes, executor and why, steps, time, disk."""
    sizes = check_data(plan, folder=folder)
    yield (
        f"{plan.sweep.name}: {len(plan.points)} point(s), {'' if plan.is_exact else 'as an example of what the searcher draws, '}"
        + (f"{len({point.method for point in plan.points})} method(s)")
    )
    yield f"  generation 0: {plan.num_bases} base teacher(s), each made once"
    yield f"  teacher passes: {plan.num_signal_passes} stored signal pass(es)"
    for executor, reason in sorted({(executor, reason) for executor, reason in plan.executors.values()}):
        count = sum(1 for pair in plan.executors.values() if pair == (executor, reason))
        yield f"  executor {executor}: {count} point(s), {reason}"
    parameters = count_parameters(plan.points[0].config, folder=folder)
    speed = tokens_per_second or TOKENS_PER_SECOND
    cost = estimate(
        plan, total_items=min(sizes.values(), default=None), num_parameters=parameters, tokens_per_second=speed
    )
    if cost.examples is not None:
        yield f"  training: {cost.examples:,} examples in {cost.steps:,} steps over all points and epochs"
    if cost.seconds is not None:
        assumed = "" if tokens_per_second else " (an assumption: give --tokens-per-second)"
        yield f"  time: about {_duration(cost.seconds)} of training at {speed:,.0f} tokens/s{assumed}, start-up and scoring not counted"
    if cost.disk_bytes is not None:
        yield f"  disk: about {cost.disk_bytes / 1e9:.1f} GB"


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


def _check_model(model: str, folder: Path) -> None:
    found = Path(locate_model(model, folder=folder))
    if not found.is_dir():
        # A Hub id: asking for its configuration tells whether it can be reached, and costs a few kB.
        from transformers import AutoConfig

        from raykd.models.qa import unreachable

        try:
            AutoConfig.from_pretrained(model, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise unreachable("model", model, error) from error


def _distinct(configs: list[PointConfig], key: Callable[[PointConfig], Any]) -> list[PointConfig]:
    return list({repr(key(config)): config for config in reversed(configs)}.values())[::-1]


def _source_key(config: PointConfig) -> str:
    return repr((config.data.train, config.data.languages))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
