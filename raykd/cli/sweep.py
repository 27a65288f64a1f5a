"""`raykd sweep`: run a sweep file."""

import argparse
import time
from pathlib import Path
from typing import Any

from raykd.cli.common import load, place_of, silence_libraries
from raykd.cli.display import Display
from raykd.cli.leaderboard import print_board
from raykd.errors import RaykdError


def add(commands: Any) -> None:
    """The parser of `raykd sweep`."""
    sweep = commands.add_parser("sweep", help="run a sweep file, or go on with it")
    sweep_arguments(sweep)
    sweep.set_defaults(run=_sweep)


def sweep_arguments(sweep: argparse.ArgumentParser) -> None:
    """What `raykd sweep` takes, which is what a submitted job may hand on to it."""
    sweep.add_argument("file", type=Path, help="the sweep file")
    sweep.add_argument("--storage", metavar="DIR", help="folder or URL of the results, in place of the file's")
    failing = sweep.add_mutually_exclusive_group()
    failing.add_argument("--fail-fast", action="store_true", help="start no more points once one has failed")
    failing.add_argument(
        "--keep-going", dest="fail_fast", action="store_false", help="run the other points all the same (the default)"
    )
    sweep.add_argument("--retry-failed", action="store_true", help="try points again that failed too often")
    sweep.add_argument("--verbose", "-v", action="store_true", help="log what workers and Ray say")


def _sweep(options: argparse.Namespace) -> int:
    from raykd.plan import make_plan
    from raykd.preview import check_data

    sweep = load(options.file)
    plan = make_plan(sweep)
    data = check_data(plan, folder=options.file.parent)
    root = place_of(sweep, options.storage)
    if not options.verbose:
        silence_libraries()
    from raykd.sweep import run_sweep

    started = time.time()
    print(f"{sweep.name}: {len(plan.points)} point(s), results in {root}", flush=True)
    with Display(plan) as display:
        outcome = run_sweep(
            plan,
            root=root,
            folder=options.file.parent,
            progress=display,
            data=data,
            fail_fast=options.fail_fast,
            retry_failed=options.retry_failed,
            verbose=options.verbose,
        )
    print_board(root, "markdown")
    counts = f"{outcome.finished} finished, {outcome.skipped} were done before, {outcome.stopped} stopped early"
    print(f"\n{counts}, {outcome.failed} failed; {time.time() - started:.0f} s. Again: raykd leaderboard {root}")
    if outcome.given_up:
        print(
            f"{outcome.given_up} given up after {sweep.search.max_attempts} failures; --retry-failed tries them again"
        )
    if outcome.missing and not options.fail_fast:
        raise RaykdError(f"{outcome.missing} point(s) did not run; run the same command again")
    return 1 if outcome.failed or outcome.given_up else 0
