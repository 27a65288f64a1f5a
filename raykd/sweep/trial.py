"""What Ray Tune runs for a point: a trial whose process asks an executor for the reports of its epochs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune

from raykd.errors import RaykdError
from raykd.executors.executor import Executor
from raykd.plan.points import Point
from raykd.plan.sweep import SweepConfig
from raykd.results.points import PointDescription
from raykd.sweep.searcher import METRIC, point_of_suggestion
from raykd.worker.job import PointJob


@dataclass(frozen=True)
class Shared:
    """What the trials of a run have in common.

    Attributes:
        run: number of the run.
        sweep: what a searcher draws values for; None where trials are given their points.
        max_deaths: as a `PointJob` has it.
        raises: let an error of raykd end the trial as failed, so that Tune stops the others.
    """

    executor: Executor
    run: int
    sweep: SweepConfig | None
    max_deaths: int
    raises: bool

    def job(self, config: Mapping[str, Any]) -> PointJob:
        """The point of a trial's configuration."""
        point = config["point"] if self.sweep is None else point_of_suggestion(self.sweep, config)
        return PointJob(point, run=self.run, max_deaths=self.max_deaths)


class PointTrial(tune.Trainable):
    """One point after another, as far as the executor reuses the process."""

    def setup(self, config: dict[str, Any], *, shared: Shared) -> None:
        self.shared = shared
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.reports = self.shared.executor.reports(self.shared.job(new_config))
        self.last: dict[str, Any] = {}
        return True

    def step(self) -> dict[str, Any]:
        report = None
        try:
            report = next(self.reports, None)
        except RaykdError:
            # It is in the journal. The same again would fail again: Tune is to retry processes that died, no more.
            if self.shared.raises:
                raise
        if report is None:
            return {METRIC: math.nan, **self.last, "done": True}
        self.last = report.measurements()
        return report.metrics()

    def cleanup(self) -> None:
        # Closing the generator frees the engine of a point that was stopped early.
        if getattr(self, "reports", None) is not None:
            self.reports.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        return None

    def load_checkpoint(self, checkpoint: Any) -> None:
        return None


def point_description(point: Point, *, suggested: Mapping[str, Any] | None = None) -> PointDescription:
    """What the journal holds of a point.

    Args:
        suggested: the values that a searcher chose.
    """
    return PointDescription(
        id=point.id,
        method=point.method,
        label=point.label,
        varied=dict(point.varied),
        base=point.base,
        config=point.config.model_dump(mode="json"),
        suggested=suggested,
    )
