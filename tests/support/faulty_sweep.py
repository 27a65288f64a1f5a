"""A sweep that runs as a job on a local cluster, what disturbs it, and what must come out all the same."""

import contextlib
import os
import random
import signal
import sys
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from raykd.report.leaderboard import GENERATION_ZERO, leaderboard
from raykd.results.journal import Journal
from support.ray_cluster import ENDED, LocalCluster, Worker, until
from support.tiny_sweeps import sweep


def small_quickstart(**changes: Any) -> dict[str, Any]:
    """The quickstart in small: a teacher, and students over generations, in float32."""
    tiny = {"data": {"budget": 16}, "compute": {"precision": "float32"}}
    return sweep(**{**tiny, "name": "quickstart", **changes})


@dataclass(frozen=True)
class Outcome:
    """What an undisturbed run of a sweep must have too.

    Attributes:
        rows: of the leaderboard, best first, without times.
        weights: method and seed of a point -> SHA-256 of the weights that it delivers.
    """

    rows: list[dict[str, Any]]
    weights: dict[tuple[str, int], str]

    def of(self, *methods: str) -> "Outcome":
        """What a sweep of these methods alone must have."""
        rows = [row for row in self.rows if row["method"] in (*methods, GENERATION_ZERO)]
        return Outcome(rows, {point: digest for point, digest in self.weights.items() if point[0] in methods})


class SweepJob:
    """A sweep's command, submitted as a job as often as it takes.

    Args:
        folder: on storage that all nodes see; the results go below it.
        settings: variables of the command's own.
    """

    def __init__(self, cluster: LocalCluster, folder: Path, keys: Mapping[str, Any], **settings: float) -> None:
        self.settings = " ".join(f"{name}={value}" for name, value in settings.items())
        self.cluster, self.results = cluster, folder / "results"
        self.file = folder / "sweep.yaml"
        self.num_submitted = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(yaml.safe_dump(dict(keys)))

    @property
    def id(self) -> str:
        """Submission id of the newest job."""
        return f"{self.file.parent.name}-{self.num_submitted}"

    def submit(self) -> None:
        """Submit the command, the same each time."""
        self.num_submitted += 1
        command = f"{sys.executable} -m raykd sweep {self.file} --storage {self.results}"
        self.cluster.submit(f"{self.settings} {command}".strip(), self.id)

    def status(self) -> str | None:
        """The job's status; None where the head has never heard of it."""
        try:
            return self.cluster.status(self.id)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            return None

    def is_over(self) -> bool:
        """Whether the job does not run, or runs no more."""
        return self.status() in (*ENDED, None)

    def num_epochs(self, method: str | None = None) -> int:
        """Epochs that the journal holds, of the points of one method or of all."""
        journal = Journal.at(self.results)
        points = [name for name in journal.points.ids() if method in (None, journal.points.description(name).method)]
        return sum(len(list(journal.epochs.of(name))) for name in points)

    def until_epoch(self, count: int, method: str | None = None) -> None:
        """Wait until so many epochs are recorded.

        Raises:
            AssertionError: if the job ended without them.
        """
        until(lambda: self.num_epochs(method) >= count or self.is_over(), f"epoch {count}", seconds=120, interval=0.05)
        assert self.num_epochs(method) >= count, self.cluster.logs(self.id)

    def until_over(self) -> str | None:
        """Wait for the end of the job; returns its status."""
        with contextlib.suppress(TimeoutError):
            until(self.is_over, "end of the job", seconds=240)
            return self.status()
        raise TimeoutError(self.cluster.logs(self.id))

    def finish(self, *, attempts: int = 3) -> str:
        """Wait for the end, and submit the command again until it ends well; returns what the last job printed."""
        for _ in range(attempts):
            if self.is_over() and self.status() != "SUCCEEDED":
                self.submit()
            if self.until_over() == "SUCCEEDED":
                return self.cluster.logs(self.id)
        raise AssertionError(f"not finished after {attempts} more attempts:\n{self.cluster.logs(self.id)}")

    def outcome(self) -> Outcome:
        """What the sweep ended with."""
        rows = [{**row, "seconds": None} for row in leaderboard(self.results).to_json()["rows"]]
        journal, weights = Journal.at(self.results), {}
        for name in journal.points.ids():
            point, artifact = journal.points.description(name), journal.points.result(name).artifact
            digest = journal.store.record(artifact).files["model.safetensors"]
            weights[point.method, point.config["seed"]] = digest
        return Outcome(rows, weights)


def kill(*pids: int) -> None:
    """SIGKILL, to those that still live."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


TRIAL, GROUP_WORKER = "ray::ResourceTrainable", "ray::RayTrainWorker"
"""What the processes of points are called that train inside their trial (Tune's name for a class with resources of its
own), and those of a worker group."""


def trainers(cluster: LocalCluster, *kinds: str) -> list[Worker]:
    """The processes that train; waits for one."""
    return until(
        lambda: [worker for worker in cluster.workers() if worker.title.startswith(kinds or (TRIAL, GROUP_WORKER))],
        f"process that trains among {cluster.workers()}",
        seconds=30,
    )


def lose_worker(job: SweepJob, chance: random.Random) -> str:
    """One process of the job is killed."""
    found = until(lambda: job.cluster.workers() or job.is_over(), "worker process")
    if found is True:
        return "none was left"
    worker = chance.choice(found)
    kill(worker.pid)
    return f"{worker.title} on {worker.node}"


def lose_node(job: SweepJob, chance: random.Random) -> str:
    """A node goes, and another comes."""
    node = chance.choice(job.cluster.nodes)
    job.cluster.kill_node(node)
    return f"{node.name}, {job.cluster.add_node().name} in its place"


def lose_driver(job: SweepJob, chance: random.Random) -> str:
    """The job's own process is killed."""
    kill(*job.cluster.drivers())
    until(job.is_over, "end of the job")
    return f"job {job.status()}"


def stop_job(job: SweepJob, chance: random.Random) -> str:
    """The job is stopped by its user."""
    job.cluster.stop_job(job.id)
    until(job.is_over, "end of the job")
    return f"job {job.status()}"


def lose_head(job: SweepJob, chance: random.Random) -> str:
    """The head is killed and started again, with nodes in the place of those that it had."""
    job.cluster.kill_head()
    job.cluster.restart_head()
    return "head and nodes anew"


FAULTS: dict[str, Callable[[SweepJob, random.Random], str]] = {
    "worker": lose_worker,
    "node": lose_node,
    "driver": lose_driver,
    "stop": stop_job,
    "head": lose_head,
}
"""What can happen to a job that runs; each says in a few words what it hit."""
