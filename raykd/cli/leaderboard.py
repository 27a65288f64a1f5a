"""`raykd leaderboard`: what a sweep showed, as a table."""

import argparse
import json
from pathlib import Path
from typing import Any

from raykd.errors import ConfigError
from raykd.storage import location


def add(commands: Any) -> None:
    """The parser of `raykd leaderboard`."""
    board = commands.add_parser("leaderboard", help="mean and deviation over seeds of every configuration of a sweep")
    board.add_argument("root", metavar="DIR", help="folder or URL of the sweep's results")
    board.add_argument("--format", choices=("markdown", "csv"), default="markdown")
    board.add_argument("--cells", action="store_true", help="add the G-XLT matrix of the best point")
    board.add_argument("--json", action="store_true", help="print it as JSON, failures and with --cells cells too")
    board.set_defaults(run=_leaderboard)


def _leaderboard(options: argparse.Namespace) -> int:
    root = location(options.root)
    if options.json:
        cells = {"best": _best(root)} if options.cells else {}
        print(json.dumps({**board_document(root), **cells}, indent=1, ensure_ascii=False))
        return 0
    print_board(root, options.format)
    if options.cells:
        _print_cells(root)
    return 0


def board_document(root: Path | str) -> dict[str, Any]:
    """The leaderboard as JSON holds it, with a line for each failure."""
    from raykd.report.leaderboard import failures, leaderboard

    return {**leaderboard(root).to_json(), "failures": failures(root)}


def print_board(root: Path | str, style: str) -> None:
    """Print the leaderboard, in markdown with the failures below it."""
    from raykd.report.leaderboard import failures, leaderboard, render

    print(render(leaderboard(root), style))
    if style == "markdown":
        for line in failures(root):
            print(f"failed: {line}")


def _best(root: Path | str) -> dict[str, Any]:
    """Id, label and scores of the finished point with the highest main score.

    Raises:
        ConfigError: if no point is finished.
    """
    from raykd.journal import Journal

    journal = Journal.at(root)
    results = {point_id: journal.result(point_id) for point_id in journal.current_point_ids()}
    done = {point_id: result["scores"] for point_id, result in results.items() if result is not None}
    if not done:
        raise ConfigError(f"{root}: no point is finished yet")
    best = max(done, key=lambda point_id: done[point_id][done[point_id]["main"]])
    return {"id": best, "label": journal.point(best)["label"], "scores": done[best]}


def _print_cells(root: Path | str) -> None:
    from raykd.report.leaderboard import matrix

    best = _best(root)
    metric = {"accuracy": "accuracy", "retrieval": "Top-1 retrieval"}.get(best["scores"].get("metric"), "F1")
    print(f"\n{metric} of {best['label']} ({best['id']}):\n")
    print(matrix(best["scores"]))
