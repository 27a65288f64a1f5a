"""What the cluster has, what a worker gets of it, and what can never fit."""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raykd.config.point import PointBase
from raykd.data.sources import DATA_VARIABLE
from raykd.errors import CapacityError
from raykd.executors.ray_internals import cluster_config
from raykd.results.words import counted
from raykd.storage import Storage, read_probe, remove_probe, write_probe

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


PROBE_SECONDS = 50.0
"""A node that has not read a megabyte after so long, its first process started, is not fit to work."""
MOST_SHOWN = 5
"""Points that do not fit, before the rest are counted."""
MANY_NODES = 1000
"""Stands for the size of a group of nodes that may grow without an end."""
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
    """What the cluster has, or may grow to: on each of its nodes (CPUs, GPUs)."""

    nodes: tuple[tuple[float, float], ...]

    @classmethod
    def of_cluster(cls) -> "Capacity":
        """The connected cluster's nodes that are alive, and those that its autoscaler may add."""
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        nodes = tuple((node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in alive)
        config = cluster_config()
        return cls(nodes if config is None else (*nodes, *nodes_to_come(config, nodes)))

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

    def worker(self, config: PointBase, *, wanted: int) -> WorkerResources:
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

    def concurrency(self, config: PointBase, worker: WorkerResources) -> int:
        """Points of this kind that fit at once.

        Raises:
            CapacityError: if not even one fits.
        """
        slots = self.slots(worker)
        workers = max(config.compute.min_workers, min(slots, config.compute.max_workers))
        if slots < workers:
            each = counted(worker.cpus, "CPU") + (f" and {counted(worker.gpus, 'GPU')}" if worker.gpus else "")
            size = f"{counted(len(self.nodes), 'node')}, {counted(self.cpus, 'CPU')}, {counted(self.gpus, 'GPU')}"
            raise CapacityError(
                f"compute.num_workers: {counted(workers, 'worker')} of {each} do not fit: the cluster ({size}) has "
                f"room for {slots}. Fix: lower it, compute.cpus_per_worker or compute.gpus_per_worker, or add nodes"
            )
        return slots // workers

    def refuse_what_never_fits(self, points: Iterable[tuple[str, PointBase]]) -> None:
        """Refuse points, each with its label, of which not even one fits alone.

        Raises:
            CapacityError: with a line for each of the first few.
        """
        problems: list[str] = []
        for label, config in points:
            try:
                self.concurrency(config, self.worker(config, wanted=1))
            except CapacityError as error:
                problems += [f"{label}: {line}" for line in error.problems]
        if len(problems) > MOST_SHOWN:
            problems[MOST_SHOWN:] = [f"and {len(problems) - MOST_SHOWN} more points"]
        if problems:
            raise CapacityError(problems)


def nodes_to_come(config: Any, alive: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Nodes that an autoscaler may add, (CPUs, GPUs) each.

    Args:
        config: the autoscaler's own ClusterConfig: groups of nodes, each with the most it may have, -1 for any number.
        alive: the nodes that are there, of whatever group.
    """
    there, found = list(alive), []
    for group in config.node_group_configs:
        kind = float(group.resources.get("CPU", 0)), float(group.resources.get("GPU", 0))
        most = MANY_NODES if group.max_count < 0 else group.max_count
        for _ in range(min(most, MANY_NODES)):
            if kind in there:
                there.remove(kind)
            else:
                found.append(kind)
    return tuple(found)


def connect(*, verbose: bool = False) -> None:
    """Join the cluster at RAY_ADDRESS, or start a local Ray on loopback that ends with this process.

    Args:
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
        options |= {"address": "local", "include_dashboard": False}
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
    write_probe(storage, token)
    read_probe(storage, token)
    remove_probe(storage, token)


def check_storage_of_nodes(storage: Storage) -> None:
    """Write a little here and read it on every node of the connected cluster.

    Raises:
        CapacityError: naming the node that does not see it, or where raykd is not installed.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) == 1:
        # This machine alone, which was asked before.
        return
    token = f"{os.getpid()}x{time.time_ns()}"
    write_probe(storage, token)
    try:
        for node, reading in [(node, _reading_on(node, storage, token)) for node in nodes]:
            _expect(node["NodeName"], reading)
    finally:
        remove_probe(storage, token)


def _reading_on(node: Mapping[str, Any], storage: Storage, token: str) -> Any:
    # Ray's own types know other strategies alone.
    here: Any = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=here)(read_probe).remote(storage, token)


def _expect(node: str, reading: Any) -> None:
    try:
        ray.get(reading, timeout=PROBE_SECONDS)
    except RayTaskError as error:
        if isinstance(error.cause, CapacityError):
            raise error.cause from error
        raise CapacityError(
            f"node {node}: raykd does not run there ({type(error.cause).__name__}: {error.cause}); install the same "
            "environment on every node"
        ) from error
    except RayError as error:
        raise CapacityError(
            f"node {node}: did not read the storage within {PROBE_SECONDS:g} s; check the node"
        ) from error
