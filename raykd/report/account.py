"""What it cost, what failed or is not done, and what exactly was run."""

from collections.abc import Mapping, Sequence
from typing import Any

from raykd.config.yaml import as_yaml
from raykd.errors import ConfigError
from raykd.plan.file import sweep_of
from raykd.report.analysis import Analysis, spoken
from raykd.report.document import MISSING, Block, Code, Figure, Section, Table, Text
from raykd.report.figures import Curve, curves
from raykd.report.numbers import duration, moment, number
from raykd.results.configurations import Configuration, mean_of
from raykd.results.records import PointRecord
from raykd.results.sweep import Commit, Hardware
from raykd.results.words import counted


def cost_section(analysis: Analysis) -> Section | None:
    """Time and speed of every configuration; None where nothing was trained."""
    ran = [each for each in analysis.configurations if each.finished]
    if not ran:
        return None
    unit, total = device_of(analysis), device_seconds(analysis)
    headings: tuple[str, ...] = (
        "configuration",
        "time a point",
        "of it training",
        f"{unit}-seconds a point",
        "examples/s",
        "points",
    )
    rows = tuple(map(_cost_row, ran))
    if total is None:
        headings, rows = _without(headings, 3), tuple(_without(row, 3) for row in rows)
    num = sum(len(each.finished) for each in ran)
    text = f"{counted(num, 'finished point')} took {duration(_seconds(analysis))} in all"
    text += f", {number(total, 0)} {unit}-seconds." if total is not None else "."
    text += " What points share (generation 0, its scores and signals) and attempts that ended early are not in it."
    blocks: list[Block] = [Text(text)]
    lines = []
    for each in analysis.contenders:
        known = [(c.mean_seconds, c.mean(analysis.main)) for c in each.configurations if c.finished]
        scored = [(seconds, mean) for seconds, mean in known if seconds is not None and mean is not None]
        lines.append(Curve(each.name, each.style, [at for at, _ in scored], [mean for _, mean in scored]))
    if sum(len(line.x) for line in lines) > 1:
        picture = curves(
            lines,
            title="Score and time",
            x_label="seconds a point",
            y_label=f"{analysis.heading} (%)",
            alt=f"{analysis.heading} over the time of a point, a line for each method, a mark for each budget.",
            log=_spans_decades(lines),
        )
        blocks.append(Figure((picture,), "Score over the time of a point: up and to the left is better."))
    blocks.append(Table(headings, rows))
    if read := [(spoken(each), _unlabelled(each)) for each in ran if _unlabelled(each)]:
        caption = "Examples without labels that were there to be read, by language"
        blocks.append(Table(("configuration", "unlabelled"), tuple(read), caption, 1, prose=True))
    return Section("cost", "Cost", "Cost", tuple(blocks))


def trouble_section(analysis: Analysis) -> Section | None:
    """Points that failed, with their reasons, and points that have no result; None where all are finished."""
    points = [point for point in analysis.records.points if point.result is None]
    failed = [point for point in points if point.state.status == "failed"]
    others = [point for point in points if point.state.status != "failed"]
    blocks: list[Block] = []
    if failed:
        rows = tuple((p.label, str(p.state.attempts), p.state.error or MISSING) for p in failed)
        blocks.append(
            Table(("point", "attempts", "reason"), rows, counted(len(failed), "point") + " failed", 1, prose=True)
        )
    if others:
        states = tuple((p.label, p.state.status, _progress(p), p.state.error or MISSING) for p in others)
        caption = f"{counted(len(others), 'point')} without a result"
        blocks.append(Table(("point", "state", "epochs", "reason"), states, caption, 2, prose=True))
    if not blocks:
        return None
    blocks.append(Text("The same `raykd sweep` command runs them; add `--retry-failed` for those that were given up."))
    title = "Failed and unfinished" if failed and others else "Failed" if failed else "Unfinished"
    return Section("unfinished", title, title, tuple(blocks))


def provenance_section(analysis: Analysis) -> Section:
    """The file, the state it was in, versions, hardware and data."""
    described = analysis.records.description
    rows = [("results", str(analysis.records.root)), ("begun", moment(described.started))]
    rows += _source(described.source)
    rows += [(name, version) for name, version in described.versions.items()]
    rows += _hardware(described.hardware)
    rows += [(f"data: {name}", digest) for name, digest in _short(described.data).items()]
    blocks: list[Block] = [Table(("what", "value"), tuple(rows), num_labels=1, prose=True)]
    if described.config:
        blocks.append(Code(file_of(described.config), "The sweep file, without default values"))
        blocks.append(Code(as_yaml(described.config), "All keys"))
    return Section("provenance", "What was run", "What was run", tuple(blocks))


def file_of(config: Mapping[str, Any]) -> str:
    """A resolved sweep file as YAML, defaults left out; all of it where it was written under other rules."""
    try:
        return as_yaml(sweep_of(config).to_json(exclude_defaults=True))
    except ConfigError:
        return as_yaml(config)


def device_of(analysis: Analysis) -> str:
    """`GPU` or `CPU`, what points were trained on."""
    return "GPU" if any(map(_is_on_gpus, analysis.records.points)) else "CPU"


def device_seconds(analysis: Analysis) -> float | None:
    """Seconds of all finished points times the devices that they held; None where that was not recorded."""
    found = [_device_seconds(point) for point in analysis.records.points if point.result is not None]
    known = [seconds for seconds in found if seconds is not None]
    return sum(known) if known and len(known) == len(found) else None


def _is_on_gpus(point: PointRecord) -> bool:
    return point.result is not None and point.result.device != "cpu"


def _device_seconds(point: PointRecord) -> float | None:
    """Seconds of a finished point times the GPUs, or the CPUs, that it held; None where that was not recorded."""
    result = point.result
    if result is None:
        return None
    each = point.settings.gpus_per_worker if _is_on_gpus(point) else result.num_threads
    return None if each is None else result.seconds * result.num_workers * each


def _seconds(analysis: Analysis) -> float:
    return sum(point.result.seconds for point in analysis.records.points if point.result is not None)


def _cost_row(each: Configuration) -> tuple[str, ...]:
    speed = mean_of(epoch.examples_per_second for point in each.finished for epoch in point.epochs)
    return (
        spoken(each),
        duration(each.mean_seconds),
        duration(mean_of(point.result.train_seconds for point in each.points if point.result is not None)),
        number(mean_of(map(_device_seconds, each.finished)), 0),
        number(speed, 0),
        str(len(each.finished)),
    )


def _unlabelled(each: Configuration) -> str:
    """Of its first seed; empty where it read none."""
    result = each.finished[0].result
    counts = result.data.get("unlabelled", {}) if result is not None else {}
    return ", ".join(f"{count:,} {language}" for language, count in counts.items())


def _without(row: tuple[str, ...], place: int) -> tuple[str, ...]:
    return row[:place] + row[place + 1 :]


def _spans_decades(lines: Sequence[Curve]) -> bool:
    found = [x for line in lines for x in line.x]
    return min(found) > 0 and max(found) / min(found) > 10


def _progress(point: PointRecord) -> str:
    if not point.epochs:
        return MISSING
    last = point.epochs[-1]
    return f"{last.epoch} of {last.num_epochs}"


def _source(source: Commit | None) -> list[tuple[str, str]]:
    if not source:
        return []
    changed = ", with changes that are not committed" if source.changed else ""
    return [("commit of the file's folder", source.commit + changed)]


def _hardware(hardware: Hardware | None) -> list[tuple[str, str]]:
    if not hardware:
        return []
    rows = [("processor", hardware.processor)]
    for node in hardware.nodes:
        gpus = f", {counted(int(node.gpus), 'GPU')}" if node.gpus else ""
        kinds = f" ({', '.join(node.accelerators)})" if node.accelerators else ""
        rows.append((counted(node.count, "node"), f"{node.cpus:g} CPUs{gpus}{kinds}, {node.memory_gib} GiB"))
    return rows


def _short(data: Mapping[str, str]) -> dict[str, str]:
    """Data sets by the key of the file that names them, where no other has the same; else by all that is known."""
    names = [name.split(" ", 1)[0] for name in data]
    return {
        short if names.count(short) == 1 else full: digest
        for short, (full, digest) in zip(names, data.items(), strict=True)
    }
