"""Train the points of the sweep files beside this one, and keep the losses of all their steps."""

import json
import tempfile
from pathlib import Path

import torch
from support.inline_sweep import run_inline

from raykd.plan.file import load_sweep
from raykd.plan.points import make_plan
from raykd.results.artifacts import Store
from raykd.results.journal import Journal

HERE = Path(__file__).parent
STORED = HERE / "losses.json"
SWEEPS = sorted(HERE.glob("*.yaml"))

Losses = dict[str, list[list[float]]]
"""`SWEEP/METHOD` -> [steps, terms] as the journal has them: total, label term, KD term, parts of it."""


def record(sweep_file: Path) -> Losses:
    """The losses of every method of a sweep file. All that this module knows of the code's insides is here."""
    torch.set_num_threads(1)
    sweep = load_sweep(sweep_file)
    with tempfile.TemporaryDirectory() as folder:
        run_inline(sweep.to_json(), Path(folder))
        journal = Journal(Store(Path(folder)))
        return {
            f"{sweep.name}/{point.method}": [row for epoch in journal.epochs.of(point.id) for row in epoch.losses]
            for point in make_plan(sweep).points
        }


def write(path: Path, losses: Losses) -> None:
    """Keep losses in a file, a step in each line."""
    goldens = (f"{json.dumps(name)}: [\n" + ",\n".join(map(json.dumps, rows)) + "\n]" for name, rows in losses.items())
    path.write_text("{\n" + ",\n".join(goldens) + "\n}\n", encoding="utf-8")


def read(path: Path) -> Losses:
    """What `write` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
