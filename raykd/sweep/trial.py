"""What Ray Tune runs for a point: a trial whose process asks an executor for the reports of its epochs."""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ray import tune

from raykd.errors import RaykdError
from raykd.executors.executor import Executor
from raykd.plan.points import Point
from raykd.plan.sweep import SweepConfig
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.points import PointDescription
from raykd.sweep.searcher import EPOCHS, METRIC, points_of_suggestion, score_in, score_of
from raykd.worker.job import PointJob

POINT = "point"
"""Which of its points a trial tells of."""


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

    def jobs(self, config: Mapping[str, Any]) -> list[PointJob]:
        """The points of a trial's configuration: the one that it names, or all seeds of what a searcher drew."""
        points = [config["point"]] if self.sweep is None else points_of_suggestion(self.sweep, config)
        return [PointJob(point, run=self.run, max_deaths=self.max_deaths) for point in points]

    def reports(self, job: PointJob) -> Generator[EpochReport, None, None]:
        """The reports of a point; of a finished one, which a searcher may draw again, those that it left."""
        journal = Journal(self.executor.place.store)
        if journal.points.is_finished(job.point.id):
            yield from journal.epochs.of(job.point.id)
        else:
            yield from self.executor.reports(job)


class PointTrial(tune.Trainable):
    """One point, or all seeds of a searcher's draw; then the next, as far as the executor reuses the process."""

    def setup(self, config: dict[str, Any], *, shared: Shared) -> None:
        self.shared = shared
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.results = self._results(self.shared.jobs(new_config))
        self.last: dict[str, Any] = {}
        return True

    def step(self) -> dict[str, Any]:
        result = next(self.results, None)
        if result is None:
            return {METRIC: math.nan, **self.last, "done": True}
        self.last = {name: result[name] for name in (*EpochReport.MEASURED, METRIC, EPOCHS)}
        return result

    def _results(self, jobs: Sequence[PointJob]) -> Generator[dict[str, Any], None, None]:
        """What Tune is told after each epoch of each of the points."""
        scores: dict[str, float] = {}
        journal, before = Journal(self.shared.executor.place.store), 0
        for job in jobs:
            last, score = 0, None
            try:
                for report in self.shared.reports(job):
                    if not last:
                        # It may go on from where it was killed.
                        score = score_in(journal, job.point.id, before=report.epoch, delivers=job.point.config.delivers)
                    last, score = report.epoch, score_of(report, score, delivers=job.point.config.delivers)
                    if score is not None:
                        scores[job.point.id] = score
                    mean = fmean(scores.values()) if scores else math.nan
                    yield {**report.metrics(), METRIC: mean, EPOCHS: before + last, POINT: job.point.id}
            except RaykdError:
                # It is in the journal. The same again would fail again: Tune is to retry processes that died, no more.
                if self.shared.raises:
                    raise
            before += last

    def cleanup(self) -> None:
        # Closing the generator frees the engine of a point that was stopped early.
        if getattr(self, "results", None) is not None:
            self.results.close()

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
        base=point.zero,
        config=point.config.model_dump(mode="json"),
        suggested=suggested,
    )
