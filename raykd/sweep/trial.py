"""What Ray Tune runs for a point: a trial that trains in its own process, or one that drives a worker group."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from raykd.errors import RaykdError
from raykd.executors.capacity import WorkerResources
from raykd.executors.points import InlineWorker, Place, run_in_group
from raykd.plan.points import Point
from raykd.plan.sweep import SweepConfig
from raykd.sweep.searcher import METRIC, point_of_suggestion
from raykd.worker.job import PointJob


@dataclass(frozen=True)
class Shared:
    """What the trials of a run have in common.

    Attributes:
        sweep: what a searcher draws values for; None where trials are given their points.
        max_deaths: as a `PointJob` has it.
        raises: let an error of raykd end the trial as failed, so that Tune stops the others.
    """

    place: Place
    resources: WorkerResources
    sweep: SweepConfig | None
    max_deaths: int
    raises: bool

    def job(self, config: Mapping[str, Any]) -> PointJob:
        """The point of a trial's configuration."""
        point = config["point"] if self.sweep is None else point_of_suggestion(self.sweep, config)
        return PointJob(point, self.place.guard, self.place.run, self.max_deaths)


class PointTrial(tune.Trainable):
    """A trial whose process runs the worker loop itself and is reused for the next point."""

    def setup(self, config: dict[str, Any], *, shared: Shared) -> None:
        self.shared = shared
        self.worker = InlineWorker(shared.place, shared.resources)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.reports = self.worker.reports(self.shared.job(new_config))
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
            return {METRIC: math.nan, **{key: self.last[key] for key in self.last if key != "num_epochs"}, "done": True}
        self.last = report
        return dict(report)

    def cleanup(self) -> None:
        # Closing the generator frees the engine of a point that was stopped early.
        if getattr(self, "reports", None) is not None:
            self.reports.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        return None

    def load_checkpoint(self, checkpoint: Any) -> None:
        return None


def group_trial(config: dict[str, Any], *, shared: Shared) -> None:
    """A trial that drives a worker group."""
    try:
        run_in_group(shared.place, shared.job(config), resources=shared.resources, callbacks=[TuneReportCallback()])
    except RaykdError:
        # It is in the journal, and the group had attempts of its own.
        if shared.raises:
            raise
        tune.report({METRIC: math.nan})


def point_description(point: Point) -> dict[str, Any]:
    """What the journal holds of a point."""
    return {
        "id": point.id,
        "method": point.method,
        "label": point.label,
        "varied": dict(point.varied),
        "base": point.base,
        "config": point.config.model_dump(mode="json"),
    }
