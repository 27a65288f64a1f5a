"""Finished sweeps of one point, made in this process: real engines, no Ray. And a Python that has no raykd."""

import subprocess
import sys
import textwrap
from pathlib import Path

from raykd.config.digest import dump
from raykd.config.identity import Identity
from raykd.results.journal import Journal
from raykd.results.points import PointDescription
from raykd.results.sweep import SweepDescription
from support.points import opened, ready, run

LABEL = "skd seed=1"

WITHOUT_RAYKD = """
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "raykd":
            raise ImportError("no raykd here")

sys.meta_path.insert(0, Refusing())
try:
    import raykd
except ImportError:
    pass
else:
    raise SystemExit("raykd can be imported")
"""


def add(root: Path | str, point: Identity, label: str = LABEL) -> str:
    """Add a point that has not begun to a sweep; returns its id."""
    journal, config = Journal.at(root), point.config
    method = label.split(maxsplit=1)[0]
    journal.points.add(
        PointDescription(
            id=point.id,
            method=method,
            label=label,
            varied={"seed": config.seed},
            base=point.base,
            config=dump(config),
        )
    )
    journal.sweep.write(SweepDescription(name="tiny", points=tuple(journal.points.ids()), versions={"raykd": "0"}))
    return point.id


def finish(root: Path | str, point: Identity, label: str = LABEL) -> str:
    """Add a point and run it to its end; returns its id."""
    name = add(root, point, label)
    context = opened(root, folder=None if isinstance(root, Path) else Path.cwd())
    ready(context, point)
    Journal.at(root).points.start(name)
    run(context, point)
    Journal.at(root).points.end(name, "finished")
    return name


def elsewhere(code: str, *, folder: Path) -> str:
    """What a Python program prints that runs in a folder, without raykd, the Hub or this environment's settings."""
    program = WITHOUT_RAYKD + "import os\nos.environ['HF_HUB_OFFLINE'] = '1'\n" + textwrap.dedent(code)
    run = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def usage_of(folder: Path) -> str:
    """The Python of a model card, without its last line, which prints an example."""
    code = (folder / "README.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    return code.rpartition("print(")[0]
