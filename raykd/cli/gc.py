"""`raykd gc`: unneeded files of a sweep's results."""

import argparse
import json
import sys
from typing import Any

from raykd.cli.common import add_command
from raykd.results.words import counted


def add(commands: Any) -> None:
    """The parser of `raykd gc`."""
    gc = add_command(
        commands,
        "gc",
        help="list unneeded checkpoints, weights and teacher outputs of a sweep, or delete them",
        examples=["raykd gc runs/qa", "raykd gc runs/qa --delete"],
    )
    gc.add_argument("root", metavar="DIR", help="the results folder, or its URL")
    gc.add_argument("--delete", action="store_true", help="delete them; without this option they are only listed")
    gc.add_argument("--json", action="store_true", help="print JSON")
    gc.set_defaults(run=_gc)


def _gc(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from raykd.results.artifacts import Store
    from raykd.results.gc import collect

    waste = collect(
        Store(options.root), delete=options.delete, say=lambda text: print(f"raykd: {text}", file=sys.stderr)
    )
    if options.json:
        print(json.dumps([asdict(each) for each in waste], indent=1, ensure_ascii=False))
        return 0
    for each in waste:
        print(f"{each.num_bytes / 1e6:10.1f} MB  {each.name}: {each.why}")
    total = f"{sum(each.num_bytes for each in waste) / 1e6:.1f} MB in {counted(len(waste), 'place')}"
    print(f"{total} deleted" if options.delete else f"{total} unneeded; --delete deletes them")
    return 0
