"""`raykd leaderboard`: what a sweep showed, as a table."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd.cli.common import add_command
from raykd.errors import ConfigError
from raykd.storage import location

if TYPE_CHECKING:
    from raykd.report.leaderboard import Leaderboard
    from raykd.results.records import PointRecord


def add(commands: Any) -> None:
    """The parser of `raykd leaderboard`."""
    board = add_command(
        commands,
        "leaderboard",
        help="show mean and standard deviation over seeds of every configuration of a sweep",
        examples=["raykd leaderboard runs/qa --cells", "raykd leaderboard runs/qa --format csv"],
    )
    board.add_argument("root", metavar="DIR", help="the results folder, or its URL")
    board.add_argument(
        "--format", choices=("table", "markdown", "csv"), help="default: a table on a terminal, otherwise markdown"
    )
    board.add_argument("--cells", action="store_true", help="add the scores of the best point in every cell")
    board.add_argument("--json", action="store_true", help="print JSON, with failures and, with --cells, cells")
    board.set_defaults(run=_leaderboard)


def _leaderboard(options: argparse.Namespace) -> int:
    root = location(options.root)
    if options.json:
        cells = {"best": _best_document(_best(root))} if options.cells else {}
        print(json.dumps({**board_document(root), **cells}, indent=1, ensure_ascii=False))
        return 0
    print_board(root, options.format)
    if options.cells:
        _print_cells(root)
    return 0


def board_document(root: Path | str) -> dict[str, Any]:
    """The leaderboard as JSON holds it, with a line for each failure."""
    from raykd.report.leaderboard import failures, leaderboard_of
    from raykd.results.records import read_records

    records = read_records(root, whole=False)
    return {**leaderboard_of(records).to_json(), "failures": failures(records)}


def print_board(root: Path | str, style: str | None = None) -> None:
    """Print the leaderboard, with the failures below it unless it is CSV.

    Args:
        style: `table`, `markdown` or `csv`; by default a table on a terminal, and markdown elsewhere.
    """
    from raykd.report.leaderboard import failures, leaderboard_of, render
    from raykd.results.records import read_records

    style = style or ("table" if sys.stdout.isatty() else "markdown")
    records = read_records(root, whole=False)
    board = leaderboard_of(records)
    failed = [f"failed: {line}" for line in failures(records)] if style != "csv" else []
    if style == "table":
        _print_table(board, failed)
    else:
        note = [] if style == "csv" else ["", board.note]
        print(render(board, style), *failed, *note, sep="\n")


def _print_table(board: "Leaderboard", failed: Sequence[str]) -> None:
    """The leaderboard in columns that keep to the width of the terminal."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from raykd.report.leaderboard import table

    heads, *rows = table(board)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for number, head in enumerate(heads):
        drawn.add_column(head, justify="right" if number else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*map(escape, row))
    console = Console(highlight=False)
    console.print(drawn)
    for line in (*failed, board.note):
        console.print(line, markup=False)


def _best(root: Path | str) -> "PointRecord":
    """The best seed of the best configuration.

    Raises:
        ConfigError: if no point is finished.
    """
    from raykd.results.find import Named, best_point
    from raykd.results.records import read_records

    best = best_point(read_records(root, whole=False).points, Named.of)
    if best is None:
        raise ConfigError(f"{root}: no point is finished yet")
    return best


def _best_document(best: "PointRecord") -> dict[str, Any]:
    return {"id": best.id, "label": best.label, "scores": asdict(best.scores) if best.scores else None}


def _print_cells(root: Path | str) -> None:
    from raykd.report.leaderboard import matrix

    best = _best(root)
    if best.scores is not None:
        metric = {"f1": "F1", "retrieval": "Top-1 retrieval"}.get(best.scores.metric, best.scores.metric)
        print(f"\n{metric} of {best.label} ({best.id}):\n")
        print(matrix(best.scores))
