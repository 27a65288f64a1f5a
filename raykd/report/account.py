"""What it cost, what failed or is not done, and what exactly was run."""

from collections.abc import Mapping, Sequence
from typing import Any

from raykd.config.yaml import as_yaml
from raykd.errors import ConfigError
from raykd.plan.file import sweep_of
from raykd.report.document import MISSING, Block, Code, Figure, Section, Table, Text
from raykd.report.figures import Curve, curves
from raykd.report.numbers import counted, duration, moment, number
from raykd.report.results import Configuration, Results, mean_of
from raykd.results.records import PointRecord


def cost_section(results: Results) -> Section | None:
    """Time and speed of every configuration; None where nothing was trained."""
    ran = [each for each in results.configurations if each.finished]
    if not ran:
        return None
    unit, total = device_of(results), device_seconds(results)
    headings = ("configuration", "time a point", "of it training", f"{unit}-seconds a point", "examples/s", "points")
    rows = tuple(map(_cost_row, ran))
    if total is None:
        headings, rows = _without(headings, 3), tuple(_without(row, 3) for row in rows)
    num = sum(len(each.finished) for each in ran)
    text = f"{counted(num, 'finished point')} took {duration(_seconds(results))} in all"
    text += f", {number(total, 0)} {unit}-seconds." if total is not None else "."
    text += " What points share (generation 0, its scores and signals) and attempts that ended early are not in it."
    blocks: list[Block] = [Text(text)]
    lines = []
    for each in results.contenders:
        known = [c for c in each.configurations if c.finished and c.mean(results.main) is not None]
        seconds = [mean_of(point.result["seconds"] for point in c.finished) for c in known]
        lines.append(Curve(each.name, each.style, seconds, [c.mean(results.main) for c in known]))
    if sum(len(line.x) for line in lines) > 1:
        picture = curves(
            lines,
            title="Score and time",
            x_label="seconds a point",
            y_label=f"{results.heading} (%)",
            alt=f"{results.heading} over the time of a point, a line for each method, a mark for each budget.",
            log=_spans_decades(lines),
        )
        blocks.append(Figure((picture,), "What a point's time buys: up and to the left is better."))
    blocks.append(Table(headings, rows))
    return Section("cost", "What it cost", "Cost", tuple(blocks))


def trouble_section(results: Results) -> Section | None:
    """Points that failed, with their reasons, and points that have no result; None where all are finished."""
    points = [point for point in results.records.points if point.result is None]
    failed = [point for point in points if point.state.status == "failed"]
    others = [point for point in points if point.state.status != "failed"]
    blocks: list[Block] = []
    if failed:
        rows = tuple((p.label, str(p.state.attempts), p.state.error or MISSING) for p in failed)
        blocks.append(
            Table(("point", "attempts", "reason"), rows, counted(len(failed), "point") + " failed", 1, prose=True)
        )
    if others:
        rows = tuple((p.label, p.state.status, _progress(p), p.state.error or MISSING) for p in others)
        caption = f"{counted(len(others), 'point')} without a result"
        blocks.append(Table(("point", "state", "epochs", "reason"), rows, caption, 2, prose=True))
    if not blocks:
        return None
    blocks.append(Text("The same `raykd sweep` command goes on with them; add `--retry-failed` for those given up."))
    title = "Failed and unfinished" if failed and others else "Failed" if failed else "Unfinished"
    return Section("unfinished", title, title, tuple(blocks))


def provenance_section(results: Results) -> Section:
    """The file, the state it was in, versions, hardware and data."""
    described = results.records.description
    rows = [("results", str(results.records.root)), ("begun", moment(described.get("started")))]
    rows += _source(described.get("source"))
    rows += [(name, version) for name, version in described.get("versions", {}).items()]
    rows += _hardware(described.get("hardware"))
    rows += [(f"data: {name}", digest) for name, digest in _short(described.get("data", {})).items()]
    blocks: list[Block] = [Table(("what", "value"), tuple(rows), num_labels=1, prose=True)]
    config = described.get("config")
    if config:
        blocks.append(Code(file_of(config), "The sweep file, without what is at its default"))
        blocks.append(Code(as_yaml(config), "Every key of it"))
    return Section("provenance", "What was run", "What was run", tuple(blocks))


def file_of(config: Mapping[str, Any]) -> str:
    """A resolved sweep file as YAML, defaults left out; all of it where it was written under other rules."""
    try:
        return as_yaml(sweep_of(config).to_json(exclude_defaults=True))
    except ConfigError:
        return as_yaml(config)


def device_of(results: Results) -> str:
    """`GPU` or `CPU`, what points were trained on."""
    return "GPU" if any(_devices(point)[0] == "GPU" for point in results.records.points) else "CPU"


def device_seconds(results: Results) -> float | None:
    """Seconds of all finished points times the devices that they held; None where that was not recorded."""
    found = [_device_seconds(point) for point in results.records.points if point.result]
    return sum(found) if found and None not in found else None


def _devices(point: PointRecord) -> tuple[str, float | None]:
    """Kind and number of the devices that a point held."""
    result = point.result or {}
    workers = result.get("num_workers", 1)
    if result.get("device", "cpu") != "cpu":
        return "GPU", workers * (point.config.get("compute", {}).get("gpus_per_worker") or 1.0)
    return "CPU", workers * result["num_threads"] if "num_threads" in result else None


def _device_seconds(point: PointRecord) -> float | None:
    held = _devices(point)[1]
    return None if held is None else held * point.result["seconds"]


def _seconds(results: Results) -> float:
    return sum(point.result["seconds"] for point in results.records.points if point.result)


def _cost_row(each: Configuration) -> tuple[str, ...]:
    results = [point.result for point in each.finished]
    speed = mean_of(epoch.get("examples_per_second") for point in each.finished for epoch in point.epochs)
    return (
        each.spoken,
        duration(mean_of(result["seconds"] for result in results)),
        duration(mean_of(result.get("train_seconds") for result in results)),
        number(mean_of(map(_device_seconds, each.finished)), 0),
        number(speed, 0),
        str(len(results)),
    )


def _without(row: tuple[str, ...], place: int) -> tuple[str, ...]:
    return row[:place] + row[place + 1 :]


def _spans_decades(lines: Sequence[Curve]) -> bool:
    found = [x for line in lines for x in line.x]
    return min(found) > 0 and max(found) / min(found) > 10


def _progress(point: PointRecord) -> str:
    if not point.epochs:
        return MISSING
    last = point.epochs[-1]
    return f"{last['epoch']} of {last['num_epochs']}"


def _source(source: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if not source:
        return []
    changed = ", with changes that are not committed" if source["changed"] else ""
    return [("commit of the file's folder", source["commit"] + changed)]


def _hardware(hardware: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if not hardware:
        return []
    rows = [("processor", hardware["processor"])]
    for node in hardware["nodes"]:
        gpus = f", {counted(int(node['gpus']), 'GPU')}" if node["gpus"] else ""
        kinds = f" ({', '.join(node['accelerators'])})" if node["accelerators"] else ""
        rows.append((counted(node["count"], "node"), f"{node['cpus']:g} CPUs{gpus}{kinds}, {node['memory_gib']} GiB"))
    return rows


def _short(data: Mapping[str, str]) -> dict[str, str]:
    """Data sets by the key of the file that names them, where no other has the same; else by all that is known."""
    names = [name.split(" ", 1)[0] for name in data]
    return {
        short if names.count(short) == 1 else full: digest
        for short, (full, digest) in zip(names, data.items(), strict=True)
    }
