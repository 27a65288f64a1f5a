"""Hears of the trials of a run, says what is waited for, and ends a run that cannot go on."""

import time
from typing import Any

from ray import tune

from raykd.errors import StallError
from raykd.executors.waiting import LOOK_SECONDS, ReservationWatch, actors_of_job
from raykd.plan.points import Point
from raykd.results.epochs import EpochReport
from raykd.sweep.recorder import RunRecorder
from raykd.sweep.trial import POINT


class Watch(tune.Callback):
    """Lives in the sweep's own process; Tune calls it between the steps of its loop."""

    def __init__(self, recorder: RunRecorder) -> None:
        self.recorder = recorder
        self.reservations, self.looked = ReservationWatch(recorder.waits), 0.0

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its callbacks into its own restore file, which raykd never reads: the journal is the truth.
        return {}

    def on_step_begin(self, iteration: int, trials: list, **info: Any) -> None:
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        running = [self._current(trial) for trial in trials if trial.status == "RUNNING"]
        silent = [f"{point.label}: {reason}" for point in running if (reason := self.recorder.silent(point))]
        if silent:
            raise StallError([*silent, *actors_of_job()])
        self.reservations.look(is_running=bool(running))
        self.recorder.does(waiting=self.reservations.reasons)

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        if "num_epochs" in result:
            point = next(each for each in self.recorder.points_of(trial.config) if each.id == result[POINT])
            self.recorder.reported(point, EpochReport.of_metrics(result))

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.recorder.ended(self.recorder.points_of(trial.config))

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.recorder.retried(self._current(trial), trial.get_error() or "")

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.recorder.failed(self._current(trial), trial.get_error() or "")

    def _current(self, trial: Any) -> Point:
        return self.recorder.current(self.recorder.points_of(trial.config))
