"""`raykd test`: score a finished sweep on test sets."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from raykd.cli.common import add_command, silence_libraries
from raykd.cli.leaderboard import board_document, print_board
from raykd.errors import ConfigError
from raykd.storage import location


def add(commands: Any) -> None:
    """The parser of `raykd test`."""
    test = add_command(
        commands,
        "test",
        help="score the chosen models of a finished sweep on test sets, which nothing is chosen by",
        examples=["raykd test runs/qa", "raykd test runs/qa --tests more.yaml --all"],
    )
    test.add_argument("root", metavar="DIR", help="the results folder, or its URL")
    test.add_argument(
        "points", nargs="*", metavar="POINT", help="points by name (default: all seeds of the best configuration)"
    )
    test.add_argument(
        "--tests",
        type=Path,
        metavar="FILE",
        help="a YAML file with further test sets, as `tests: {NAME: {source: ..., languages: ...}}`",
    )
    test.add_argument("--all", action="store_true", help="every finished point")
    test.add_argument("--json", action="store_true", help="print the leaderboard as JSON")
    test.set_defaults(run=_test)


def _test(options: argparse.Namespace) -> int:
    silence_libraries()
    from raykd.predict.testing import score_sweep_on_tests

    if options.points and options.all:
        raise ConfigError("name points or give --all, not both")
    root = location(options.root)
    score_sweep_on_tests(
        root,
        tests=_tests_of(options.tests) if options.tests else None,
        points=options.points,
        every=options.all,
        folder=options.tests.parent if options.tests else Path(),
        say=lambda line: print(line, file=sys.stderr),
    )
    if options.json:
        print(json.dumps(board_document(root), indent=1, ensure_ascii=False))
    else:
        print_board(root)
    return 0


def _tests_of(path: Path) -> dict[str, Any]:
    """The section `tests` of a file."""
    from raykd.plan.file import read_file

    found = read_file(path).get("tests")
    if not isinstance(found, dict) or not found:
        raise ConfigError(f"{path}: needs a section `tests` with a name for each test set")
    return found
