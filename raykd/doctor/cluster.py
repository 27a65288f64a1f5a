"""The Ray cluster that a sweep would run on: whether it answers, knows the token, and is the same on every node."""

import os
import platform
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import AuthenticationError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raykd import __version__
from raykd.doctor.finding import LIMIT_SECONDS, Finding, Step, errors_of
from raykd.doctor.token import NO_TOKEN
from raykd.errors import CapacityError, RaykdError
from raykd.executors.capacity import PROBE_SECONDS, Capacity, check_storage_of_nodes, connect
from raykd.plan.file import load_sweep
from raykd.plan.points import make_plan
from raykd.results.words import counted
from raykd.storage import Storage
from raykd.submit import Cluster, cluster_address, find_token

START = "start it (ray start --head), forward its port, or unset RAY_ADDRESS: raykd sweep then starts a local Ray"


def cluster(address: str | None, file: Path | None, root: Path | str | None) -> Iterator[Finding | Step]:
    """The cluster at an address, of a GCS (`HOST:PORT`, `auto`) or of a dashboard (a URL), or this machine as one.

    Args:
        file: whose points should fit.
        root: the storage that every node should see.
    """
    if not address:
        here = Capacity(((float(_cpus()), float(_gpus())),))
        size = f"{counted(here.cpus, 'CPU')} and {counted(here.gpus, 'GPU')}"
        yield Finding("ok", "Ray", f"no RAY_ADDRESS: raykd sweep starts a local Ray, with {size}")
        yield from fit(here, file)
    elif address.startswith(("http://", "https://")):
        yield from jobs_api(address)
    else:
        yield from joined(address, file, root)


def jobs_api(address: str) -> Iterator[Finding | Step]:
    """A cluster that jobs are submitted to, by its dashboard."""
    yield Step(f"asking {address}")
    token = find_token()
    reached = Cluster(cluster_address(address), token)
    whose = f"knows the token from {token.source}" if token else "asks for no token"
    yield Finding("ok", "Ray", f"{reached.address}: answers and {whose}")
    if token is None:
        yield _open(reached.address)
    todo = "run raykd doctor on the head, or as a job, to check its nodes"
    yield Finding("ok", "nodes", "not checked: --address is a dashboard, not a cluster", todo)


def joined(address: str, file: Path | None, root: Path | str | None) -> Iterator[Finding | Step]:
    """A cluster, from inside."""
    yield Step(f"looking for {address}")
    if problem := unreachable(address):
        yield Finding("error", "Ray", f"{address}: {problem}", START)
        return
    os.environ["RAY_ADDRESS"] = address
    yield Step("joining the cluster", todo=START)
    try:
        connect()
    except AuthenticationError:
        yield Finding("error", "Ray", f"{address}: the cluster needs a token, and none was found", NO_TOKEN)
        return
    nodes = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeName"])
    capacity = Capacity.of_cluster()
    cpus, gpus = (sum(node["Resources"].get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
    size = f"{counted(len(nodes), 'node')}, {counted(cpus, 'CPU')}, {counted(gpus, 'GPU')}"
    yield Finding("ok", "Ray", f"{address}: {size}")
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token" and _is_remote(address):
        yield _open(address)
    for node in nodes:
        yield from _node(node)
    if root is not None:
        yield from _storage_of_nodes(root)
    yield from fit(capacity, file)


def unreachable(address: str) -> str | None:
    """Why nothing can be sent to HOST:PORT; None where somebody listens, or the address is a name of Ray's."""
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    if not host or not port:
        return None
    try:
        socket.create_connection((host, port), timeout=LIMIT_SECONDS / 2).close()
    except OSError as error:
        return f"nothing answers ({error.strerror or error})"
    return None


def _is_remote(address: str) -> bool:
    """Whether others than this machine can reach it."""
    return not address.startswith(("127.", "localhost", "[::1]", "local", "auto"))


def _open(address: str) -> Finding:
    todo = "start it with RAY_AUTH_MODE=token: without a token, anybody who reaches the cluster can run code there"
    return Finding("warning", "Ray", f"{address}: asks for no token", todo)


def _node(node: dict[str, Any]) -> Iterator[Finding | Step]:
    """Python, Ray and raykd of a node against those here."""
    name = f"node {node['NodeName']}"
    yield Step(f"starting a process on {name}", PROBE_SECONDS)
    has = node["Resources"]
    ours = {"python": platform.python_version(), "ray": ray.__version__, "raykd": __version__}
    try:
        theirs = ray.get(_versions_on(node["NodeID"]), timeout=PROBE_SECONDS - 1)
    except RayError as error:
        first = str(error).strip().splitlines()[-1][:200]
        yield Finding("error", name, f"no process starts on it ({first})", "check the node's logs (ray logs)")
        return
    size = f"{counted(has.get('CPU', 0.0), 'CPU')}, {counted(has.get('GPU', 0.0), 'GPU')}"
    other = [
        f"{what} {theirs[what] or 'missing'}, here {version}"
        for what, version in ours.items()
        if theirs[what] != version
    ]
    if other:
        todo = "install the same environment on every node: the image, or pip install -c constraints.txt ."
        yield Finding("error", name, f"{size}; {'; '.join(other)}", todo)
    else:
        yield Finding("ok", name, f"{size}; {', '.join(f'{what} {version}' for what, version in theirs.items())}")


def _versions_on(node_id: str) -> Any:
    # Nested, so that Ray sends the code itself: a node without raykd can answer, too.
    def versions() -> dict[str, str | None]:
        import importlib.util
        import platform

        import ray

        found = None
        if importlib.util.find_spec("raykd"):
            import raykd

            found = raykd.__version__
        return {"python": platform.python_version(), "ray": ray.__version__, "raykd": found}

    here = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(versions).options(num_cpus=0, max_retries=0, scheduling_strategy=here).remote()


def _storage_of_nodes(root: Path | str) -> Iterator[Finding | Step]:
    yield Step(f"reading {root} on every node", PROBE_SECONDS + LIMIT_SECONDS)
    try:
        check_storage_of_nodes(Storage(root))
    except RaykdError as error:
        yield from errors_of("storage", error)
        return
    yield Finding("ok", "storage", f"{root}: every node can read it")


def fit(capacity: Capacity, file: Path | None) -> Iterator[Finding]:
    """Whether the points of a file fit."""
    if file is None:
        return
    try:
        points = make_plan(load_sweep(file)).points
    except RaykdError:
        # What is wrong with the file is found by the check of its data.
        return
    try:
        capacity.refuse_what_never_fits((point.label, point.config) for point in points)
    except CapacityError as error:
        yield from errors_of("capacity", error)
        return
    together = min(
        capacity.concurrency(each.config, capacity.worker(each.config, wanted=len(points))) for each in points
    )
    yield Finding("ok", "capacity", f"all points fit: {len(points)}, of which {min(together, len(points))} at once")


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
