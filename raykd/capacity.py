"""What the cluster has, what a worker gets of it, and what can never fit."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from raykd.config.point import PointConfig
from raykd.data.sources import DATA_VARIABLE
from raykd.errors import CapacityError
from raykd.storage import Storage

DRIVER_CPUS = 0.01
"""What the driver of a worker group takes. Its workers give it up, or the last of them would wait for ever."""

WORKER_ENVIRONMENT = {
    # Ray Train polls its workers at this interval; its default of 2 s is what small epochs would wait for.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    # Memory that a step frees stays with the process: else the next step's tensors are mapped in page by page.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "MALLOC_TOP_PAD_": str(1 << 26),
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
    """What the cluster has: on each of its nodes (CPUs, GPUs)."""

    nodes: tuple[tuple[float, float], ...]

    @classmethod
    def of_cluster(cls) -> "Capacity":
        """The connected cluster's nodes that are alive."""
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return cls(tuple((node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in alive))

    @property
    def cpus(self) -> float:
        """CPUs of all nodes."""
        return sum(cpus for cpus, _ in self.nodes)

    @property
    def gpus(self) -> float:
        """GPUs of all nodes."""
        return sum(gpus for _, gpus in self.nodes)

    def slots(self, worker: WorkerResources) -> int:
        """Workers of this size that fit at once; a worker does not span nodes."""
        return sum(
            int(min(cpus / worker.cpus, gpus / worker.gpus if worker.gpus else cpus / worker.cpus) + 1e-9)
            for cpus, gpus in self.nodes
        )

    def worker(self, config: PointConfig, *, wanted: int) -> WorkerResources:
        """What one worker of a point gets; what the file leaves open is shared out among `wanted` points at once."""
        compute = config.compute
        gpus = compute.gpus_per_worker if compute.gpus_per_worker is not None else (1.0 if self.gpus else 0.0)
        if compute.cpus_per_worker is not None:
            return WorkerResources(compute.cpus_per_worker, gpus)
        most = self.slots(WorkerResources(1.0, gpus))
        workers = compute.max_workers * max(1, min(wanted, most // compute.max_workers))
        sizes = range(int(max((cpus for cpus, _ in self.nodes), default=1)), 1, -1)
        cpus = next((size for size in sizes if self.slots(WorkerResources(size, gpus)) >= workers), 1)
        return WorkerResources(float(cpus), gpus)

    def concurrency(self, config: PointConfig, worker: WorkerResources) -> int:
        """Points of this kind that fit at once.

        Raises:
            CapacityError: if not even one fits.
        """
        slots = self.slots(worker)
        workers = max(config.compute.min_workers, min(slots, config.compute.max_workers))
        if slots < workers:
            each = f"{worker.cpus:g} CPU(s)" + (f" and {worker.gpus:g} GPU(s)" if worker.gpus else "")
            raise CapacityError(
                f"compute.num_workers: {workers} worker(s) of {each} do not fit: the cluster's {len(self.nodes)} "
                f"node(s) with {self.cpus:g} CPU(s) and {self.gpus:g} GPU(s) hold {slots}. Fix: lower it, "
                "compute.cpus_per_worker or compute.gpus_per_worker, or add nodes"
            )
        return slots // workers


def connect(*, needs_state_api: bool, verbose: bool = False) -> None:
    """Join the cluster at RAY_ADDRESS, or start a local Ray on loopback that ends with this process.

    Args:
        needs_state_api: a trial that is stopped early gives its workers back through it, and the dashboard serves it.
        verbose: show what workers print.

    Raises:
        CapacityError: if Ray cannot be reached or started.
    """
    if ray.is_initialized():
        return
    environment = dict(WORKER_ENVIRONMENT)
    # Trials and worker groups work in folders of their own: what is relative here must be found from there.
    entries = [str(Path.cwd()), *filter(None, os.environ.get(DATA_VARIABLE, "").split(os.pathsep))]
    environment[DATA_VARIABLE] = os.pathsep.join(str(Path(entry).expanduser().resolve()) for entry in entries)
    # A job's own environment wins: Ray refuses a variable that both the job and its driver set.
    job = json.loads(os.environ.get(JOB_CONFIG, "{}")).get("runtime_env", {}).get("env_vars", {})
    environment = {name: value for name, value in environment.items() if name not in job}
    options: dict[str, Any] = {
        "runtime_env": {"env_vars": environment},
        "log_to_driver": verbose,
        "logging_level": "ERROR",
    }
    if not os.environ.get("RAY_ADDRESS"):
        options |= {"address": "local", "include_dashboard": needs_state_api, "dashboard_host": "127.0.0.1"}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = os.environ.get("RAY_ADDRESS") or "this machine"
        raise CapacityError(f"Ray at {where} cannot be reached ({error}); start it, or unset RAY_ADDRESS") from error


def check_storage(storage: Storage) -> None:
    """Write and read a little from this machine.

    Raises:
        CapacityError: if it cannot be done.
    """
    token = f"{os.getpid()}x{time.time_ns()}"
    storage.probe_write(token)
    storage.probe_read(token)
    storage.probe_end(token)
