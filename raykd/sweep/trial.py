"""What Ray Tune runs for a point: a trial that trains in its own process, or one that drives a worker group."""

from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from raykd.capacity import WorkerResources
from raykd.config.point import PointConfig
from raykd.config.sweep import SweepConfig
from raykd.generation import InlineWorker, Place, run_in_group
from raykd.plan import Point, base_fingerprint, canonical
from raykd.sweep.searcher import point_of_suggestion
from raykd.worker import Job


class PointTrial(tune.Trainable):
    """A trial whose process runs the worker loop itself and is reused for the next point."""

    def setup(
        self, config: dict[str, Any], *, place: Place, resources: WorkerResources, sweep: SweepConfig | None
    ) -> None:
        self.sweep = sweep
        self.worker = InlineWorker(place, resources)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.reports = self.worker.reports(_job(new_config, self.sweep))
        self.last: dict[str, Any] = {}
        return True

    def step(self) -> dict[str, Any]:
        report = next(self.reports, None)
        if report is None:
            return {key: value for key, value in self.last.items() if key != "num_epochs"} | {"done": True}
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


def group_trial(config: dict[str, Any], *, place: Place, resources: WorkerResources, sweep: SweepConfig | None) -> None:
    """A trial that drives a worker group."""
    run_in_group(place, _job(config, sweep), resources=resources, callbacks=[TuneReportCallback()])


def _job(config: Mapping[str, Any], sweep: SweepConfig | None) -> Job:
    if "point" not in config:
        point = point_of_suggestion(sweep, config)
        return Job(point.id, point.config, canonical(point.config), base_fingerprint(point.config))
    described = config["point"]
    point_config = PointConfig.model_validate(described["config"])
    return Job(described["id"], point_config, canonical(point_config), base_fingerprint(point_config))


def point_description(point: Point) -> dict[str, Any]:
    """What the journal holds of a point."""
    return {
        "id": point.id,
        "method": point.method,
        "label": point.label,
        "varied": dict(point.varied),
        "base": base_fingerprint(point.config),
        "config": point.config.model_dump(mode="json"),
    }
