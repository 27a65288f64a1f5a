"""`raykd logs`: everything that was recorded of one point."""

import argparse
import difflib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from raykd.cli.common import add_command
from raykd.cli.text import counted, duration, epoch_line
from raykd.errors import ConfigError

if TYPE_CHECKING:
    from raykd.results.journal import Journal
    from raykd.status import PointStatus, StatusReader

FOLLOW_SECONDS = 1.0
NEAREST = 5


def add(commands: Any) -> None:
    """The parser of `raykd logs`."""
    logs = add_command(
        commands,
        "logs",
        help="show everything that was recorded of one point of a sweep",
        examples=['raykd logs runs/qa "ce budget=16 seed=1"', 'raykd logs runs/qa "ce budget=16 seed=1" --follow'],
    )
    logs.add_argument("root", metavar="DIR", help="the results folder, or its URL")
    logs.add_argument("point", metavar="POINT", help="label (as progress lines show it), id, or beginning of the id")
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
        for event, value in _events(reader, point, follow=options.follow):
            say(event, value)
    except KeyboardInterrupt:
        # Whoever follows ends it so; the sweep goes on.
        return 0
    return 0


def _named(points: tuple["PointStatus", ...], wanted: str, root: str) -> "PointStatus":
    """The point of an id, a label, or a prefix of one id.

    Raises:
        ConfigError: if there is none, or several ids begin so.
    """
    found = [point for point in points if wanted in (point.id, point.label)]
    found = found or [point for point in points if wanted and point.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(f"{point.id} ({point.label})" for point in found[:NEAREST])
        raise ConfigError(f"{root}: {len(found)} points begin with {wanted!r}: {named}; give more of the id")
    names = sorted({name for point in points for name in (point.id, point.label)})
    near = difflib.get_close_matches(wanted, names, n=NEAREST, cutoff=0.0)
    nearest = f"nearest are {', '.join(map(repr, near))}" if near else "it has no points yet"
    raise ConfigError(f"{root}: no point {wanted!r}; {nearest}")


def _document(journal: "Journal", point: "PointStatus") -> dict[str, Any]:
    """All of a point: as it stands, its configuration, the reports of its epochs, its result."""
    return {
        "status": asdict(point),
        "point": journal.find_point(point.id),
        "epochs": list(journal.epochs(point.id)),
        "result": journal.result(point.id),
    }


def _events(reader: "StatusReader", point: "PointStatus", *, follow: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What is known of a point, and, where it is followed, what comes: changes of its state, and epochs once each."""
    journal, shown, told = reader.journal, 0, None
    yield "point", journal.find_point(point.id) or {"id": point.id, "label": point.label}
    while True:
        status = reader.read()
        point = next((each for each in status.points if each.id == point.id), point)
        goes_on = status.run is not None and point.state in ("pending", "running", "interrupted")
        if goes_on and (point.state, point.attempts) != told:
            told = point.state, point.attempts
            yield "state", asdict(point)
        for number in range(shown + 1, journal.last_epoch(point.id) + 1):
            shown = number
            report = journal.epoch(point.id, number)
            if report is not None:
                yield "epoch", report
        if not (follow and goes_on):
            break
        time.sleep(FOLLOW_SECONDS)
    if not goes_on:
        yield "state", asdict(point)
    result = journal.result(point.id)
    if result is not None:
        yield "result", result


def _say_json(event: str, value: Mapping[str, Any]) -> None:
    print(json.dumps({"event": event, **value}, ensure_ascii=False), flush=True)


def _say_text(event: str, value: Mapping[str, Any]) -> None:
    lines = {"point": _point_lines, "state": _state_lines, "epoch": _epoch_lines, "result": _result_lines}
    print(*lines[event](value), sep="\n", flush=True)


def _point_lines(described: Mapping[str, Any]) -> Iterator[str]:
    yield f"{described['label']} ({described['id']})"
    for key, value in described.get("varied", {}).items():
        yield f"  {key}: {json.dumps(value, ensure_ascii=False)}"


def _state_lines(state: Mapping[str, Any]) -> Iterator[str]:
    words = [f"{state['state']}, attempt {state['attempts']}" if state["attempts"] else state["state"]]
    if state["failures"]:
        words.append(counted(state["failures"], "failure"))
    if state["started"]:
        words.append(f"began {_moment(state['started'])}")
    if state["started"] and state["ended"]:
        words.append(f"ended {_moment(state['ended'])} after {duration(state['ended'] - state['started'])}")
    yield ", ".join(words)
    if state["error"]:
        yield f"  {state['error']}"


def _epoch_lines(report: Mapping[str, Any]) -> Iterator[str]:
    when = f"{_moment(report['written'])}  " if "written" in report else ""
    yield f"{when}{epoch_line(report)}"


def _result_lines(result: Mapping[str, Any]) -> Iterator[str]:
    for record in result["generations"]:
        dev = f", dev {record['dev_score']:.1f}" if record["dev_score"] is not None else ""
        yield f"generation {record['index']}: artifact {record['artifact']}{dev}"
    scores = result["scores"]
    yield ", ".join(
        f"{head} {scores[name]:.1f}" for name, head in scores["columns"].items() if scores[name] is not None
    )
    workers = counted(result["num_workers"], "worker")
    yield f"final model: artifact {result['artifact']}; {duration(result['seconds'])} on {workers}"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
