"""`raykd logs`: everything that was recorded of one point."""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from time import localtime, sleep, strftime
from typing import TYPE_CHECKING, Any

from raykd.cli.common import add_command
from raykd.cli.text import epoch_line
from raykd.results.words import counted, duration

if TYPE_CHECKING:
    from raykd.results.journal import Journal
    from raykd.results.points import PointResult
    from raykd.status import PointStatus, StatusReader

FOLLOW_SECONDS = 1.0


def add(commands: Any) -> None:
    """The parser of `raykd logs`."""
    logs = add_command(
        commands,
        "logs",
        help="show everything that was recorded of one point of a sweep",
        examples=['raykd logs runs/qa "ce budget=16 seed=1"', "raykd logs runs/qa best --follow"],
    )
    logs.add_argument("root", metavar="DIR", help="the results folder, or its URL")
    logs.add_argument(
        "point", metavar="POINT", help="label, id or its beginning, method if it has one finished point, or best"
    )
    logs.add_argument(
        "--follow", "-f", action="store_true", help="print new lines as they come, until the point has ended"
    )
    logs.add_argument("--json", action="store_true", help="print JSON; with --follow one object per line")
    logs.set_defaults(run=_logs)


def _logs(options: argparse.Namespace) -> int:
    from raykd.status import StatusReader

    reader = StatusReader(options.root)
    point = _named(reader.read().points, options.point, options.root)
    if options.json and not options.follow:
        print(json.dumps(_document(reader.journal, point), ensure_ascii=False, indent=1))
        return 0
    say = _say_json if options.json else _say_text
    try:
        for event in _events(reader, point, follow=options.follow):
            say(event)
    except KeyboardInterrupt:
        # Whoever follows ends it so; the sweep goes on.
        return 0
    return 0


def _named(points: tuple["PointStatus", ...], wanted: str, root: str) -> "PointStatus":
    """The point of a name, see `find_point`.

    Raises:
        DataError: if there is none, or there are several.
    """
    from raykd.results.find import find_point

    found = find_point([each.named for each in points], wanted, where=root)
    return next(point for point in points if point.id == found.id)


def _document(journal: "Journal", point: "PointStatus") -> dict[str, Any]:
    """All of a point: as it stands, its configuration, the reports of its epochs, its result."""
    described, result = journal.points.find_description(point.id), journal.points.result(point.id)
    return {
        "status": asdict(point),
        "point": described and asdict(described),
        "epochs": [asdict(report) for report in journal.epochs.of(point.id)],
        "result": result and asdict(result),
    }


@dataclass(frozen=True)
class _Event:
    """Something that is known of a point.

    Attributes:
        kind: `point`, `state`, `epoch` or `result`.
        record: all of it; `lines` are what a reader wants of it.
    """

    kind: str
    record: Any
    lines: tuple[str, ...]


def _events(reader: "StatusReader", point: "PointStatus", *, follow: bool) -> Iterator[_Event]:
    """What is known of a point, and, where it is followed, what comes: changes of its state, and epochs once each."""
    journal, shown, told = reader.journal, 0, None
    described = journal.points.find_description(point.id)
    yield _Event("point", described or point, tuple(_point_lines(point, described.varied if described else {})))
    while True:
        status = reader.read()
        point = next((each for each in status.points if each.id == point.id), point)
        goes_on = status.run is not None and point.state in ("pending", "running", "interrupted")
        if goes_on and (point.state, point.attempts) != told:
            told = point.state, point.attempts
            yield _state(point)
        for number in range(shown + 1, journal.epochs.last(point.id) + 1):
            shown = number
            report = journal.epochs.find(point.id, number)
            if report is not None:
                yield _Event("epoch", report, (f"{_moment(report.written)}  {epoch_line(report)}",))
        if not (follow and goes_on):
            break
        sleep(FOLLOW_SECONDS)
    if not goes_on:
        yield _state(point)
    result = journal.points.result(point.id)
    if result is not None:
        yield _Event("result", result, tuple(_result_lines(result)))


def _say_json(event: _Event) -> None:
    print(json.dumps({"event": event.kind, **asdict(event.record)}, ensure_ascii=False), flush=True)


def _say_text(event: _Event) -> None:
    print(*event.lines, sep="\n", flush=True)


def _point_lines(point: "PointStatus", varied: Mapping[str, Any]) -> Iterator[str]:
    yield f"{point.label} ({point.id})"
    for key, value in varied.items():
        yield f"  {key}: {json.dumps(value, ensure_ascii=False)}"


def _state(point: "PointStatus") -> _Event:
    words = [f"{point.state}, attempt {point.attempts}" if point.attempts else point.state]
    if point.failures:
        words.append(counted(point.failures, "failure"))
    if point.started:
        words.append(f"began {_moment(point.started)}")
    if point.started and point.ended:
        words.append(f"ended {_moment(point.ended)} after {duration(point.ended - point.started)}")
    return _Event("state", point, (", ".join(words), *([f"  {point.error}"] if point.error else [])))


def _result_lines(result: "PointResult") -> Iterator[str]:
    for record in result.generations:
        dev = f", dev {record.dev_score:.1f}" if record.dev_score is not None else ""
        yield f"generation {record.index}: artifact {record.artifact}{dev}"
    yield result.scores.in_words
    workers = counted(result.num_workers, "worker")
    yield f"final model: artifact {result.artifact}; {duration(result.seconds)} on {workers}"


def _moment(seconds: float) -> str:
    return strftime("%Y-%m-%d %H:%M:%S", localtime(seconds))
