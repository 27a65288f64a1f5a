"""Finished sweeps of one point, made in this process: real engines, no Ray."""

from pathlib import Path

from raykd.config.digest import dump
from raykd.config.identity import Identity
from raykd.results.journal import Journal
from raykd.results.points import PointDescription
from raykd.results.sweep import SweepDescription
from support.points import opened, ready, run

LABEL = "skd seed=1"


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
