"""Runs on an MLflow tracking server. It is asked what it has, so whoever goes on with a sweep finds its runs."""

import logging
import os
from dataclasses import dataclass
from typing import Any

from raykd.config.trackers import MlflowConfig
from raykd.errors import ConfigError
from raykd.trackers.run import Epoch, TrackedPoint

URI_VARIABLE = "MLFLOW_TRACKING_URI"
STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "interrupted": "KILLED"}
MOST_METRICS, MOST_PARAMS = 1000, 100
"""What MLflow takes in one request."""
LONGEST_PARAM = 6000

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A server that is gone is tried again by raykd, at the next epoch.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}


@dataclass
class _Open:
    """A run on the server: its id, the last epoch that it has, and the status that it shows."""

    id: str
    last: int
    status: str


class Mlflow:
    """Keeps the runs of an experiment."""

    name = "mlflow"

    def __init__(self, config: MlflowConfig, *, group: str) -> None:
        """
        Args:
            group: the sweep's name, which is the experiment's where the file names none.
        """
        client_of, _ = _library()
        uri = _uri(config)
        self.experiment = config.experiment or group
        self.place = f"{uri} {self.experiment}"
        self.client = client_of(tracking_uri=uri)
        self.open: dict[str, _Open] = {}

    def write(self, run: TrackedPoint, *, told: int) -> None:
        """Send what the run on the server does not have yet."""
        # Dropped until all was sent: after an error the server is asked again how far it got.
        there = self.open.pop(run.point, None) or self._find(run) or self._begin(run)
        for epoch in run.epochs:
            if epoch.number > there.last:
                self._send(there, epoch, tags={"raykd.generation": str(int(epoch.metrics["generation"]))})
                there.last = epoch.number
        status = STATUS.get(run.status, "RUNNING")
        if run.is_over:
            final = Epoch(there.last, run.time, run.final)
            self._send(there, final, tags={"raykd.status": run.status, "raykd.error": run.error or ""})
            self.client.set_terminated(there.id, status, end_time=round(1000 * run.time))
        elif there.status != status:
            self.client.update_run(there.id, status=status)
        there.status = status
        self.open[run.point] = there

    def close(self) -> None:
        """Nothing is open."""

    def _find(self, run: TrackedPoint) -> _Open | None:
        """The run of this point, which an earlier process began."""
        wanted = f"tags.`raykd.sweep` = '{run.sweep}' and tags.`raykd.point` = '{run.point}'"
        found = self.client.search_runs([self._experiment()], wanted, max_results=1)
        if not found:
            return None
        (known,) = found
        if not known.data.params:
            self._send_params(known.info.run_id, run)
        last = max((metric.step for metric in self.client.get_metric_history(known.info.run_id, "loss")), default=0)
        return _Open(known.info.run_id, last, known.info.status)

    def _begin(self, run: TrackedPoint) -> _Open:
        begun = round(1000 * (run.epochs[0].time if run.epochs else run.time))
        made = self.client.create_run(self._experiment(), start_time=begun, tags=dict(run.tags), run_name=run.label)
        self._send_params(made.info.run_id, run)
        return _Open(made.info.run_id, 0, made.info.status)

    def _experiment(self) -> str:
        known = self.client.get_experiment_by_name(self.experiment)
        return known.experiment_id if known else self.client.create_experiment(self.experiment)

    def _send(self, there: _Open, epoch: Epoch, *, tags: dict[str, str]) -> None:
        from mlflow.entities import Metric, RunTag

        at = round(1000 * epoch.time)
        metrics = [Metric(name, value, at, epoch.number) for name, value in epoch.metrics.items()]
        first, rest = metrics[:MOST_METRICS], metrics[MOST_METRICS:]
        self.client.log_batch(there.id, first, tags=[RunTag(*tag) for tag in tags.items()])
        for start in range(0, len(rest), MOST_METRICS):
            self.client.log_batch(there.id, rest[start : start + MOST_METRICS])

    def _send_params(self, run_id: str, run: TrackedPoint) -> None:
        from mlflow.entities import Param

        params = [
            Param(name, str(value)[:LONGEST_PARAM]) for name, value in {"method": run.method, **run.params}.items()
        ]
        for start in range(0, len(params), MOST_PARAMS):
            self.client.log_batch(run_id, params=params[start : start + MOST_PARAMS])


def check(config: MlflowConfig) -> None:
    """Refuse a server that does not answer.

    Raises:
        ConfigError: with what to do.
    """
    client_of, failure = _library()
    uri = _uri(config)
    try:
        client_of(tracking_uri=uri).search_experiments(max_results=1)
    except (failure, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"trackers.mlflow.tracking_uri: {uri} does not answer as an MLflow server ({reason}); start it, or take "
            "trackers.mlflow out of the file"
        ) from error


def _uri(config: MlflowConfig) -> str:
    uri = config.tracking_uri or os.environ.get(URI_VARIABLE)
    if not uri:
        raise ConfigError(f"trackers.mlflow.tracking_uri: missing; name the server here or in {URI_VARIABLE}")
    return uri


def _library() -> tuple[Any, type[Exception]]:
    """MLflow's client and its error; the library reads its environment when it is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient, MlflowException
