"""A Ray cluster of several nodes on this machine, made of processes that can be killed as machines fail."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.node_process import Node

ROOT = Path(__file__).parents[2]
WITH_WARM_WORKERS = os.pathsep.join((str(Path(__file__).parent / "warm"), str(ROOT)))
"""A PYTHONPATH under which Ray's workers are forked from a warm process."""
NETWORK = f"127.0.{os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw')}"
"""Each process of pytest-xdist has its own part of loopback."""
HEAD_IP = f"{NETWORK}.2"
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
OF_RAY_ITSELF = ("IDLE", "JobSupervisor", "DashboardAgent", "RuntimeEnvAgent", "_AutoscalingCoordinatorActor")
"""Workers and actors that belong to Ray; the last is one for the whole cluster, for as long as that lives."""
FAST_FAILURE_DETECTION = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
}
"""Ray's defaults take half a minute to notice a lost node, and a node a minute to notice a lost head."""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, all of them different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def until(condition: Callable[[], Any], what: str, *, seconds: float = 60, interval: float = 0.2) -> Any:
    """The first true answer of a condition.

    Raises:
        TimeoutError: naming what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:g} s still no {what}")
        time.sleep(interval)
    return answer


@dataclass(frozen=True)
class Worker:
    """A process that runs a task or an actor of a job."""

    pid: int
    node: str
    title: str


class LocalCluster:
    """A head without CPUs and nodes of one CPU each, on loopback, with token authentication.

    Args:
        num_nodes: nodes beside the head.
        environment: variables for everything that runs in the cluster.
    """

    def __init__(self, num_nodes: int = 2, *, environment: Mapping[str, str] | None = None) -> None:
        # Short: the path of a socket below it has 107 characters at the most.
        self.folder = Path(tempfile.mkdtemp(prefix="rk-", dir="/tmp"))
        self.token = secrets.token_hex(32)
        token_file = self.folder / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(self.token)
        inherited = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN")}
        self.environment = {
            **inherited,
            **FAST_FAILURE_DETECTION,
            "PYTHONPATH": WITH_WARM_WORKERS,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file),
            **(environment or {}),
        }
        self.port, self.dashboard_port, self.client_port, self.agent_port = free_ports(4)
        self.head: Node | None = None
        self.nodes: list[Node] = []
        self.bereft: list[Node] = []
        self.num_started = 0
        try:
            self.start_head()
            for _ in range(num_nodes):
                self.add_node()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where the Jobs API answers."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    def start_head(self) -> None:
        """Start the head, on the same ports each time; returns when the Jobs API answers."""
        options = [
            "--head", "--num-cpus=0", f"--port={self.port}", f"--dashboard-port={self.dashboard_port}",
            "--dashboard-host=127.0.0.1", f"--ray-client-server-port={self.client_port}",
            f"--dashboard-agent-listen-port={self.agent_port}",
        ]  # fmt: skip
        # It runs no worker of ours, for which a warm process would pay.
        environment = {**self.environment, "PYTHONPATH": str(ROOT)}
        self.head = Node("head", HEAD_IP, options, folder=self.folder, environment=environment)
        self._until_up(self.head, lambda: self._answer("/api/jobs/") is not None)

    def add_node(self, *, cpus: int = 1) -> Node:
        """Start one more node; returns when the head counts on it."""
        self.num_started += 1
        options = [
            f"--address={HEAD_IP}:{self.port}", f"--num-cpus={cpus}",
            f"--dashboard-agent-listen-port={free_ports(1)[0]}",
        ]  # fmt: skip
        name, ip = f"n{self.num_started}", f"{NETWORK}.{self.num_started + 2}"
        node = Node(name, ip, options, folder=self.folder, environment=self.environment)
        self.nodes.append(node)
        self._until_up(node, lambda: node.name in self.alive())
        return node

    def kill_node(self, node: Node) -> None:
        """Take a node's power away; returns when the head has noticed."""
        node.kill()
        self.nodes.remove(node)
        until(lambda: node.name not in self.alive(), f"word of the loss of {node.name}")

    def kill_head(self) -> None:
        """Take the head's power away; the other nodes learn of it by themselves."""
        self.head.kill()

    def restart_head(self) -> None:
        """Start a killed head again; it knows nothing of before, and nodes join in the place of those it had.

        Those may go on for a moment, with all that runs on them.
        """
        self.start_head()
        bereft, self.nodes = self.nodes, []
        self.bereft += bereft
        for _ in bereft:
            self.add_node()

    def alive(self) -> list[str]:
        """Names of the nodes that the head believes to be alive."""
        return [node["node_name"] for node in self._list("nodes") if node["state"] == "ALIVE"]

    def request(self, path: str, *, method: str = "GET", body: Any = None, token: str | None = None) -> Any:
        """What the head's HTTP API answers.

        Args:
            token: in the place of the cluster's; "" sends none.

        Raises:
            urllib.error.HTTPError: if it refuses.
        """
        token = self.token if token is None else token
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}{path}", data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def submit(self, entrypoint: str, submission_id: str) -> None:
        """Submit a job through the Jobs API. An id serves once: Ray is slow to give up the name behind it."""
        self.request("/api/jobs/", method="POST", body={"entrypoint": entrypoint, "submission_id": submission_id})

    def status(self, submission_id: str) -> str:
        """PENDING, RUNNING, or one of `ENDED`."""
        return self.request(f"/api/jobs/{submission_id}")["status"]

    def wait(self, submission_id: str, *, seconds: float = 180) -> str:
        """How a job ended.

        Raises:
            TimeoutError: if it has not.
        """
        with contextlib.suppress(TimeoutError):
            until(lambda: self.status(submission_id) in ENDED, "end", seconds=seconds)
            return self.status(submission_id)
        raise TimeoutError(f"{submission_id} has not ended after {seconds:g} s:\n{self.logs(submission_id)}")

    def stop_job(self, submission_id: str) -> None:
        """What `ray job stop` asks for."""
        self.request(f"/api/jobs/{submission_id}/stop", method="POST")

    def logs(self, submission_id: str) -> str:
        """What a job printed."""
        return self.request(f"/api/jobs/{submission_id}/logs")["logs"]

    def drivers(self) -> list[int]:
        """Process ids of the entrypoints that run, with their shells."""
        return [pid for pid, command in self.head.processes().items() if "raykd sweep" in command]

    def workers(self) -> list[Worker]:
        """The processes that run tasks and actors; a job's supervisor is none of them."""
        return [
            Worker(pid, node.name, command)
            for node in (self.head, *self.nodes)
            for pid, command in node.processes().items()
            if command.startswith("ray::") and not command.removeprefix("ray::").startswith(OF_RAY_ITSELF)
        ]

    def leftovers(self) -> list[str]:
        """What jobs left behind: processes, actors and placement groups, one line each."""
        living = [actor for actor in self._list("actors") if actor["state"] != "DEAD"]
        actors = [actor for actor in living if actor["class_name"] not in OF_RAY_ITSELF]
        groups = [group for group in self._list("placement_groups") if group["state"] != "REMOVED"]
        return [
            *(f"{node.name} without its head" for node in self.bereft if node.is_running()),
            *(f"driver {pid}" for pid in self.drivers()),
            *(f"process {worker.pid} on {worker.node}: {worker.title}" for worker in self.workers()),
            *(f"actor {actor['class_name']} {actor['actor_id']}: {actor['state']}" for actor in actors),
            *(f"placement group {group['placement_group_id']}: {group['state']}" for group in groups),
        ]

    def until_clean(self, *, seconds: float = 30, but: str | None = None) -> None:
        """Wait until jobs have left nothing behind.

        Args:
            but: how lines of `leftovers` begin that do not count.

        Raises:
            AssertionError: naming what they did.
        """

        def left() -> list[str]:
            return [line for line in self.leftovers() if not (but and line.startswith(but))]

        with contextlib.suppress(TimeoutError):
            until(lambda: not left(), "end of what is left", seconds=seconds)
        found = left()
        assert found == [], "\n".join(found)

    def close(self) -> None:
        """End everything that was started, and remove its files."""
        for node in filter(None, (*self.nodes, *self.bereft, self.head)):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _list(self, what: str) -> list[dict[str, Any]]:
        # A busy head now and then refuses, and one that has just started does.
        answer = until(lambda: self._answer(f"/api/v0/{what}?limit=1000"), f"list of {what}")
        return answer["data"]["result"]["result"]

    def _answer(self, path: str) -> Any:
        with contextlib.suppress(OSError):
            return self.request(path)

    def _until_up(self, node: Node, is_up: Callable[[], bool]) -> None:
        until(lambda: is_up() or not node.is_running(), f"{node.name}: {node.log.read_text()}")
        if not node.is_running():
            raise RuntimeError(f"{node.name} ended: {node.log.read_text()}")
