"""`raykd plan`: what a sweep file would run."""

import argparse
from pathlib import Path
from typing import Any

from raykd.cli.common import load


def add(commands: Any) -> None:
    """The parser of `raykd plan`."""
    plan = commands.add_parser("plan", help="show what a sweep file would run: points, passes, steps, time, disk")
    plan.add_argument("file", type=Path, help="the sweep file")
    plan.add_argument(
        "--tokens-per-second", type=float, metavar="N", help="speed of one point's training, for the time estimate"
    )
    plan.add_argument("--points", action="store_true", help="list every point")
    plan.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> int:
    from raykd.plan import make_plan
    from raykd.preview import preview

    plan = make_plan(load(options.file))
    for line in preview(plan, folder=options.file.parent, tokens_per_second=options.tokens_per_second):
        print(line)
    if options.points:
        for point in plan.points:
            print(f"  {point.id}  {point.label}")
    return 0
