"""`raykd status`: how a sweep stands, while it runs or later."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from raykd.cli.common import add_command


def add(commands: Any) -> None:
    """The parser of `raykd status`."""
    status = add_command(
        commands,
        "status",
        help="show the progress of a sweep, also while it runs elsewhere",
        examples=["raykd status runs/qa", "raykd status runs/qa --watch 5"],
    )
    status.add_argument("root", metavar="DIR", help="the results folder, or its URL")
    status.add_argument(
        "--watch", type=_seconds, metavar="SECONDS", help="refresh every SECONDS until the sweep has ended"
    )
    status.add_argument("--json", action="store_true", help="print JSON; with --watch one object per line")
    status.set_defaults(run=_status)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(text)
    return seconds


def _status(options: argparse.Namespace) -> int:
    from raykd.status import StatusReader

    reader = StatusReader(options.root)
    if options.watch is None:
        _print(reader.read(), as_json=options.json, indent=1)
        return 0
    try:
        _watch(reader, options)
    except KeyboardInterrupt:
        # Whoever watches ends it so; the sweep goes on.
        return 0
    return 0


def _print(status: Any, *, as_json: bool, indent: int | None = None) -> None:
    if as_json:
        print(json.dumps(status.to_json(), ensure_ascii=False, indent=indent), flush=True)
        return
    from rich.console import Console

    from raykd.cli.view import View, status_lines

    if sys.stdout.isatty():
        Console(highlight=False).print(View(status, all_points=True))
    else:
        print(*status_lines(status), sep="\n", flush=True)


def _watch(reader: Any, options: argparse.Namespace) -> None:
    from rich.live import Live

    from raykd.cli.view import View

    def statuses() -> Iterator[Any]:
        while True:
            status = reader.read()
            yield status
            if status.is_over:
                return
            time.sleep(options.watch)

    if options.json or not sys.stdout.isatty():
        for status in statuses():
            _print(status, as_json=options.json)
        return
    with Live(auto_refresh=False) as live:
        for status in statuses():
            live.update(View(status), refresh=True)
