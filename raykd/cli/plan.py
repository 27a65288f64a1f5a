"""`raykd plan`: what a sweep file would run and cost."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd.cli.common import add_command, load
from raykd.errors import ConfigError, DataError
from raykd.results.words import counted, duration
from raykd.storage import location

if TYPE_CHECKING:
    from raykd.plan.preview import Preview


def add(commands: Any) -> None:
    """The parser of `raykd plan`."""
    plan = add_command(
        commands,
        "plan",
        help="show what a sweep file would run and cost: points, teacher passes, steps, time, GPU-hours, disk",
        examples=[
            "raykd plan sweeps/quickstart.yaml --points",
            "raykd plan sweeps/quickstart.yaml --gpu --parallel 4 --price 2.50",
            "raykd plan sweeps/quickstart.yaml --like runs/qa",
        ],
    )
    plan.add_argument("file", type=Path, help="the sweep file")
    speed = plan.add_mutually_exclusive_group()
    speed.add_argument(
        "--tokens-per-second", type=float, metavar="N", help="training speed of one point, for the time estimate"
    )
    speed.add_argument(
        "--like", metavar="DIR", help="use the training speed that the sweep in this results folder measured"
    )
    plan.add_argument(
        "--parallel", type=int, metavar="N", help="points that run at once (default: search.max_concurrent, or 1)"
    )
    plan.add_argument(
        "--gpu", action="store_true", help="count 1 GPU per worker if the file does not set gpus_per_worker"
    )
    plan.add_argument(
        "--price", type=float, metavar="X", help="price of a GPU-hour, or of a CPU-hour if points use no GPU"
    )
    plan.add_argument("--currency", default="EUR", metavar="NAME", help="currency of the price (default: EUR)")
    plan.add_argument("--points", action="store_true", help="list every point with its id")
    plan.add_argument("--json", action="store_true", help="print JSON")
    plan.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> int:
    from raykd.plan.points import make_plan
    from raykd.plan.preview import Speed, measured_speed, preview

    for option, value in (("--parallel", options.parallel), ("--price", options.price)):
        if value is not None and not value > 0:
            raise ConfigError(f"{option} {value:g}: must be above 0")
    plan = make_plan(load(options.file))
    speed = None
    if options.like is not None:
        speed = measured_speed(location(options.like))
    elif options.tokens_per_second is not None:
        speed = Speed(options.tokens_per_second, "as given")
    found = preview(
        plan,
        folder=options.file.parent,
        speed=speed,
        parallel=options.parallel,
        price=options.price,
        on_gpus=options.gpu,
    )
    if options.json:
        print(json.dumps(_as_json(found, options.currency), indent=1, ensure_ascii=False))
    else:
        for line in _lines(found, options.currency):
            print(line)
        if options.points:
            for point in found.points:
                print(f"  {point.id}  {point.label}")
    if found.problems:
        raise DataError(found.problems)
    return 0


def _as_json(found: "Preview", currency: str) -> dict[str, Any]:
    whole = asdict(found)
    whole["points"] = [{"id": each.id, "label": each.label, "method": each.method} for each in found.points]
    whole["executors"] = [dict(zip(("executor", "why", "num_points"), each, strict=True)) for each in found.executors]
    total = found.estimate.total
    return {**whole, "total": asdict(total) if total else None, "currency": currency}


def _lines(found: "Preview", currency: str) -> Iterator[str]:
    drawn = "" if found.is_exact else ", chosen by the searcher while the sweep runs"
    points, methods = counted(len(found.points), "point"), counted(len(found.methods), "method")
    if found.races:
        drawn = f" at most: those that lose {counted(found.races, 'race')} beyond doubt get no further seed"
    yield f"{found.name}: {points} of {methods}{drawn}"
    yield f"  generation 0: {counted(found.num_generation_zero, 'shared base model')}"
    if found.num_strangers:
        yield f"  first teacher: {counted(found.num_strangers, 'given model')}, not generation 0"
    if found.num_members:
        yield f"  ensembles: {counted(found.num_members, 'more teacher')} trained on labels"
    yield f"  signals: {counted(found.num_signal_passes, 'teacher pass', 'teacher passes')}, outputs saved"
    for executor, why, count in found.executors:
        yield f"  executor {executor}: {counted(count, 'point')}, {why}"
    proved = f"proved on {', '.join(found.tests)}" if found.tests else "no test set proves what is chosen"
    yield f"  chosen by: the selection set; {proved}"
    for name, commit in found.commits.items():
        yield f"  {name}: commit {commit}"
    cost = found.estimate
    if cost.examples is not None and cost.steps is not None:
        yield f"  training: {cost.examples:,} examples in {cost.steps:,} steps over all points and epochs"
    if found.unlabelled:
        # A point with a larger budget has fewer where they are the rest.
        each = ", ".join(f"{count:,} {language}" for language, count in found.unlabelled.items())
        yield f"  unlabelled: up to {each}"
    for vocabulary in found.vocabularies:
        read = ", ".join(
            f"{language} {each.trimmed_pieces / max(each.pieces, 1):.2f} ({100 * each.trimmed_unknown:.1f} % unknown)"
            for language, each in vocabulary.languages.items()
        )
        yield f"  vocabulary: {vocabulary.kept:,} of {vocabulary.total:,} pieces; times as many for a text: {read}"
    if cost.total is not None and found.wall_seconds is not None:
        yield from _cost_lines(found, currency, wall_seconds=found.wall_seconds)
    if cost.disk_bytes is not None:
        yield f"  disk: {cost.disk_bytes / 1e9:.1f} GB"


def _cost_lines(found: "Preview", currency: str, *, wall_seconds: float) -> Iterator[str]:
    cost, unit = found.estimate, found.unit

    def words(part: Any, money: float | None) -> str:
        paid = "" if money is None else f", {money:,.2f} {currency}"
        return f"{duration(part.seconds)}, {_hours(part.hours(unit))} {unit}-hours{paid}"

    yield f"  time: {duration(wall_seconds)} with {counted(found.parallel, 'point')} at a time"
    yield f"  work: {words(cost.total, found.money)}"
    yield f"    shared by all points: {words(cost.shared, None)}"
    for method in found.methods:
        yield f"    {method.method}, {counted(method.num_points, 'point')}: {words(method.cost, method.money)}"
    yield (
        f"  all at {found.speed.tokens_per_second:,.0f} tokens/s per point ({found.speed.source}), without scoring, "
        "start-up and waiting"
    )
    if found.speed.source.startswith("assumed"):
        yield "  for a better estimate: --tokens-per-second N, or --like DIR (the speed of an earlier sweep)"


def _hours(hours: float) -> str:
    return f"{hours:.3f}" if hours < 1 else f"{hours:,.1f}"
