"""A whole sweep in this process, without Ray: for tests that look at what one leaves behind."""

import time
from pathlib import Path
from typing import Any

import raykd
from raykd.plan.file import sweep_of
from raykd.plan.inspection import check_data
from raykd.plan.points import make_plan
from raykd.results.journal import Journal
from raykd.results.sweep import SweepDescription
from raykd.sweep.trial import point_description
from support.points import opened, ready, run


def run_inline(keys: dict[str, Any], root: Path) -> None:
    """Run every point of a sweep and record it as a run on Ray does."""
    plan = make_plan(sweep_of(keys))
    context = opened(root)
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
        ready(context, point)
        run(context, point)
        journal.points.end(point.id, "finished")
