"""`raykd leaderboard`: what a sweep showed, as a table."""

import argparse
from pathlib import Path
from typing import Any

from raykd.errors import ConfigError
from raykd.storage import location


def add(commands: Any) -> None:
    """The parser of `raykd leaderboard`."""
    board = commands.add_parser("leaderboard", help="mean and deviation over seeds of every configuration of a sweep")
    board.add_argument("root", metavar="DIR", help="folder or URL of the sweep's results")
    board.add_argument("--format", choices=("markdown", "csv", "json"), default="markdown")
    board.add_argument("--cells", action="store_true", help="add the G-XLT matrix of the best point")
    board.set_defaults(run=_leaderboard)


def _leaderboard(options: argparse.Namespace) -> int:
    root = location(options.root)
    print_board(root, options.format)
    if options.cells:
        _print_cells(root)
    return 0


def print_board(root: Path | str, style: str) -> None:
    from raykd.report.leaderboard import failures, leaderboard, render

    print(render(leaderboard(root), style))
    if style == "markdown":
        for line in failures(root):
            print(f"failed: {line}")


def _print_cells(root: Path | str) -> None:
    from raykd.journal import Journal
    from raykd.report.leaderboard import matrix

    journal = Journal.at(root)
    results = {point_id: journal.result(point_id) for point_id in journal.current_point_ids()}
    done = {point_id: result for point_id, result in results.items() if result is not None}
    if not done:
        raise ConfigError(f"{root}: no point is finished yet")
    best = max(done, key=lambda point_id: done[point_id]["scores"][done[point_id]["scores"]["main"]])
    scores = done[best]["scores"]
    metric = {"accuracy": "accuracy", "retrieval": "Top-1 retrieval"}.get(scores.get("metric"), "F1")
    print(f"\n{metric} of {journal.point(best)['label']} ({best}):\n")
    print(matrix(scores))
