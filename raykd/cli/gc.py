"""`raykd gc`: what nobody will ask for."""

import argparse
import json
import sys
from typing import Any


def add(commands: Any) -> None:
    """The parser of `raykd gc`."""
    gc = commands.add_parser("gc", help="show what a sweep's results hold that nobody will ask for, or delete it")
    gc.add_argument("root", metavar="DIR", help="folder or URL of the sweep's results")
    gc.add_argument("--delete", action="store_true", help="delete it; without this nothing is")
    gc.add_argument("--json", action="store_true", help="print it as JSON")
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
    total = f"{sum(each.num_bytes for each in waste) / 1e6:.1f} MB in {len(waste)} place(s)"
    print(f"{total} deleted" if options.delete else f"{total} can go; --delete deletes it")
    return 0
