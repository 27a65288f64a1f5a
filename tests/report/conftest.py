from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.fabricated_results import QUICKSTARTS, fabricate

from raykd.plan.points import Point
from raykd.report.build import build
from raykd.report.document import Report
from raykd.results.records import read_records


@dataclass(frozen=True)
class Reported:
    """A sweep whose points are all finished, and its report. It is shared: tests only read it."""

    root: Path
    points: list[Point]
    report: Report


@pytest.fixture(scope="session")
def reported(tmp_path_factory) -> Callable[[str], Reported]:
    """The quickstart of a task, as it was reported; its pictures are drawn once."""
    made: dict[str, Reported] = {}

    def make(task: str) -> Reported:
        if task not in made:
            root = tmp_path_factory.mktemp(task) / "runs"
            points = fabricate(root, QUICKSTARTS[task])
            made[task] = Reported(root, points, build(read_records(root)))
        return made[task]

    return make
