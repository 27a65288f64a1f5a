"""What the cluster has, what a worker gets of it, and what can never fit."""

import errno
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from raykd.config.point import PointConfig
from raykd.data.sources import DATA_VARIABLE
from raykd.errors import CapacityError

DRIVER_CPUS = 0.01
"""What the driver of a worker group takes. Its workers give it up, or the last of them would wait for ever."""

WORKER_ENVIRONMENT = {
    # Ray Train polls its workers at this interval; its default of 2 s is what small epochs would wait for.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Where the Jobs API tells an entrypoint what it was submitted with."""


@dataclass(frozen=True)
class WorkerResources:
    """What one worker of a point takes."""

    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """Threads of one worker's tensor operations."""
        return max(1, int(self.cpus))

    def beside_driver(self) -> dict[str, float]:
        """What a worker asks of Ray where a driver runs beside its group."""
        return {"CPU": max(self.cpus - DRIVER_CPUS, DRIVER_CPUS)} | ({"GPU": self.gpus} if self.gpus else {})


@dataclass(frozen=True)
class Capacity:
    """What the cluster has in all."""

    cpus: float
    gpus: float

    @classmethod
    def of_cluster(cls) -> "Capacity":
        """The connected cluster's resources."""
        resources = ray.cluster_resources()
        return cls(resources.get("CPU", 0.0), resources.get("GPU", 0.0))

    def worker(self, config: PointConfig, *, wanted: int) -> WorkerResources:
        """What one worker of a point gets; what the file leaves open is shared out among `wanted` points at once."""
        compute = config.compute
        gpus = compute.gpus_per_worker if compute.gpus_per_worker is not None else (1.0 if self.gpus else 0.0)
        if compute.cpus_per_worker is not None:
            return WorkerResources(compute.cpus_per_worker, gpus)
        at_once = min(wanted, max(1, int(self.cpus // compute.num_workers)))
        if gpus:
            at_once = min(at_once, max(1, int(self.gpus / (gpus * compute.num_workers))))
        return WorkerResources(max(1.0, float(self.cpus // (at_once * compute.num_workers))), gpus)

    def concurrency(self, config: PointConfig, worker: WorkerResources) -> int:
        """Points of this kind that fit at once.

        Raises:
            CapacityError: if not even one fits.
        """
        workers = config.compute.num_workers
        for kind, needed, available in (("CPU", worker.cpus, self.cpus), ("GPU", worker.gpus, self.gpus)):
            if needed * workers > available:
                raise CapacityError(
                    f"compute.num_workers: {workers} worker(s) x {needed:g} {kind}(s) need {needed * workers:g} "
                    f"{kind}s, the cluster has {available:g}. "
                    f"Fix: lower it or compute.{kind.lower()}s_per_worker, or add nodes"
                )
        fits = self.cpus // (worker.cpus * workers)
        if worker.gpus:
            fits = min(fits, self.gpus // (worker.gpus * workers))
        return max(1, int(fits))


def connect(*, needs_state_api: bool) -> None:
    """Join the cluster at RAY_ADDRESS, or start a local Ray on loopback that ends with this process.

    Args:
        needs_state_api: a trial that is stopped early gives its workers back through it, and the dashboard serves it.

    Raises:
        CapacityError: if Ray cannot be reached or started.
    """
    if ray.is_initialized():
        return
    environment = dict(WORKER_ENVIRONMENT)
    if DATA_VARIABLE in os.environ:
        environment[DATA_VARIABLE] = os.environ[DATA_VARIABLE]
    # A job's own environment wins: Ray refuses a variable that both the job and its driver set.
    job = json.loads(os.environ.get(JOB_CONFIG, "{}")).get("runtime_env", {}).get("env_vars", {})
    environment = {name: value for name, value in environment.items() if name not in job}
    options: dict[str, Any] = {
        "runtime_env": {"env_vars": environment},
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    if not os.environ.get("RAY_ADDRESS"):
        options |= {"address": "local", "include_dashboard": needs_state_api, "dashboard_host": "127.0.0.1"}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = os.environ.get("RAY_ADDRESS") or "this machine"
        raise CapacityError(f"Ray at {where} cannot be reached ({error}); start it, or unset RAY_ADDRESS") from error


def check_storage(root: Path) -> None:
    """Write and remove a little there.

    Raises:
        CapacityError: if the folder cannot be made or the disk is full.
    """
    probe = root / f".probe-{os.getpid()}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"0" * (1 << 20))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise CapacityError(f"{root}: the disk is full; free space or set another storage") from error
        raise CapacityError(f"{root}: cannot write here ({error.strerror}); set another storage") from error
    finally:
        if root.is_dir():
            probe.unlink(missing_ok=True)


def disk_is_full(root: Path) -> bool:
    """Whether not even a record fits any more."""
    return shutil.disk_usage(root).free < 1 << 20
