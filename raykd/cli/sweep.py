"""`raykd sweep`: run a sweep file."""

import argparse
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd.cli.common import add_command, load, place_of, silence_libraries
from raykd.cli.display import Events, display
from raykd.cli.leaderboard import board_document, print_board
from raykd.errors import RaykdError
from raykd.results.words import counted, duration

if TYPE_CHECKING:
    from raykd.sweep import Outcome


def add(commands: Any) -> None:
    """The parser of `raykd sweep`."""
    sweep = add_command(
        commands,
        "sweep",
        help="run or resume a sweep file",
        examples=[
            "raykd sweep sweeps/quickstart.yaml",
            "raykd sweep sweeps/quickstart.yaml --storage /shared/runs/demo",
        ],
    )
    sweep_arguments(sweep)
    sweep.set_defaults(run=_sweep)


def sweep_arguments(sweep: argparse.ArgumentParser) -> None:
    """What `raykd sweep` takes, which is what a submitted job may hand on to it."""
    sweep.add_argument("file", type=Path, help="the sweep file")
    sweep.add_argument("--storage", metavar="DIR", help="results folder or URL; overrides that of the file")
    failing = sweep.add_mutually_exclusive_group()
    failing.add_argument("--fail-fast", action="store_true", help="start no more points after one has failed")
    failing.add_argument(
        "--keep-going",
        dest="fail_fast",
        action="store_false",
        help="run the other points after one has failed (the default)",
    )
    sweep.add_argument(
        "--retry-failed", action="store_true", help="retry points that were given up after too many failures"
    )
    telling = sweep.add_mutually_exclusive_group()
    telling.add_argument("--quiet", "-q", action="store_true", help="print only failures and the end")
    telling.add_argument(
        "--verbose", "-v", action="store_true", help="print every metric of an epoch, and the logs of workers and Ray"
    )
    sweep.add_argument("--json", action="store_true", help="print one JSON object per line for each event")


def _sweep(options: argparse.Namespace) -> int:
    from raykd.plan.inspection import check_data
    from raykd.plan.points import make_plan
    from raykd.results.journal import Journal

    sweep = load(options.file)
    plan = make_plan(sweep)
    root = place_of(sweep, options.storage)
    Journal.at(root).sweep.pin_commits()
    data = check_data(plan, folder=options.file.parent)
    if not options.verbose:
        silence_libraries()
    from raykd.sweep import run_sweep

    started = time.time()
    shown = display(root, as_json=options.json, quiet=options.quiet, verbose=options.verbose)
    # A `raykd.Progress` in all but name: its base class would import Ray for every command.
    watcher: Any = shown
    with shown:
        shown.begin(sweep.name, len(plan.points), root)
        outcome = run_sweep(
            plan,
            root=root,
            folder=options.file.parent,
            progress=watcher,
            data=data,
            fail_fast=options.fail_fast,
            retry_failed=options.retry_failed,
            verbose=options.verbose,
        )
    seconds = time.time() - started
    if isinstance(shown, Events):
        shown.event("outcome", **asdict(outcome), seconds=seconds, leaderboard=board_document(root))
    else:
        _print_end(outcome, root, seconds, options)
    if outcome.missing and not options.fail_fast:
        raise RaykdError(f"{counted(outcome.missing, 'point')} did not run; run the same command again")
    return 1 if outcome.failed or outcome.given_up else 0


def _print_end(outcome: "Outcome", root: Path | str, seconds: float, options: argparse.Namespace) -> None:
    """The leaderboard, what became of the points, and the commands that are useful now."""
    print_board(root)
    print(f"\n{_counts(outcome)}; {duration(seconds)}")
    print("next:")
    for command, what in _next_commands(outcome, root, options):
        print(f"  {shlex.join(command)}  # {what}")


def _counts(outcome: "Outcome") -> str:
    """What became of the points, in words; what happened to none is left out."""
    others = [
        f"{count} {words}"
        for count, words in (
            (outcome.stopped, "stopped early"),
            (outcome.failed, "failed"),
            (outcome.given_up, "given up after too many failures"),
        )
        if count
    ]
    if outcome.skipped and not (outcome.finished or outcome.missing or others):
        return f"nothing to do: all {outcome.skipped} finished"
    before = [f"{outcome.skipped} done before"] if outcome.skipped else []
    return ", ".join([f"{outcome.finished} finished", *before, *others])


def _next_commands(
    outcome: "Outcome", root: Path | str, options: argparse.Namespace
) -> Iterator[tuple[list[str], str]]:
    from raykd.status import read_status

    status, place = read_status(root), str(root)
    if status.best is not None:
        yield ["raykd", "report", place], "write all results to one HTML page"
        yield ["raykd", "export", place, f"{status.name}-best"], "export the best model"
    failed = [point for point in status.points if point.state == "failed"]
    if failed:
        more = f", one of {len(failed)} that failed" if len(failed) > 1 else ", which failed"
        yield ["raykd", "logs", place, failed[0].id], f"{failed[0].label}{more}"
    if failed or outcome.missing or outcome.given_up:
        storage = ["--storage", options.storage] if options.storage else []
        retry = ["--retry-failed"] if outcome.given_up else []
        yield ["raykd", "sweep", str(options.file), *storage, *retry], "run the remaining points"
