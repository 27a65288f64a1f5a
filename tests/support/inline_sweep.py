"""A whole sweep in this process, without Ray: for tests that look at what one leaves behind."""

import time
from pathlib import Path
from typing import Any

import raykd
from raykd.plan.file import sweep_of
from raykd.plan.inspection import check_data
from raykd.plan.points import make_plan
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.results.sweep import SweepDescription
from raykd.sweep.trial import point_description
from raykd.worker.context import WorkerContext
from raykd.worker.job import PointJob
from raykd.worker.lineage import Driver
from raykd.worker.point import PointRun, lineage_of
from raykd.worker.prepare import prepare


def run_inline(keys: dict[str, Any], root: Path) -> None:
    """Run every point of a sweep and record it as a run on Ray does."""
    plan = make_plan(sweep_of(keys))
    context = WorkerContext.open(Store(root), root, alone=True, threads=1)
    journal = Journal(context.store)
    journal.sweep.write(
        SweepDescription(
            name=plan.sweep.name,
            config=plan.sweep.to_json(),
            points=tuple(point.id for point in plan.points),
            versions={"raykd": raykd.__version__},
            started=time.time(),
            data=check_data(plan, folder=root),
        )
    )
    for point in plan.points:
        journal.points.add(point_description(point))
        journal.points.start(point.id)
        list(prepare(context, [point]))
        work = PointJob(point)
        list(PointRun(context, work).run(Driver(lineage_of(work, context.store)).next))
        journal.points.end(point.id, "finished")
