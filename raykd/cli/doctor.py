"""`raykd doctor`: what is missing here, and what to do about it."""

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raykd.cli.common import add_command
from raykd.results.words import counted


def add(commands: Any) -> None:
    """The parser of `raykd doctor`."""
    doctor = add_command(
        commands,
        "doctor",
        help="check this machine, the cluster, data and a sweep file; say what is missing and what to do",
        examples=["raykd doctor", "raykd doctor sweeps/quickstart.yaml --storage /shared/runs/quickstart"],
    )
    doctor.add_argument(
        "file", type=Path, nargs="?", help="a sweep file: check its data, models, storage and whether its points fit"
    )
    doctor.add_argument("--storage", metavar="DIR", help="results folder or URL; overrides that of the file")
    doctor.add_argument(
        "--address", metavar="HOST:PORT", help="Ray cluster, or the URL of its dashboard; overrides RAY_ADDRESS"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from raykd.doctor.examine import examine

    found = []
    for finding in examine(options.file, storage=options.storage, address=options.address):
        found.append(finding)
        if not options.json:
            print(f"{finding.level:<8} {finding.what}: {finding.found}", flush=True)
            if finding.todo:
                print(f"{'':<8} to do: {finding.todo}", flush=True)
    counts = Counter(finding.level for finding in found)
    if options.json:
        print(json.dumps([asdict(finding) for finding in found], indent=1, ensure_ascii=False))
    else:
        print(f"\n{counted(counts['error'], 'error')}, {counted(counts['warning'], 'warning')}")
    return 1 if counts["error"] else 0
