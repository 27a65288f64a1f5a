"""Worker groups that lose a worker, and a node after notice, on real local Ray clusters."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import safetensors.torch
import torch
from ray.cluster_utils import Cluster
from support.ray_cluster import FAST_FAILURE_DETECTION, ROOT, WITH_WARM_WORKERS
from support.tiny_sweeps import point

from raykd.config.identity import Identity
from raykd.executors.capacity import WORKER_ENVIRONMENT, WorkerResources
from raykd.executors.executor import Place
from raykd.executors.group import GroupExecutor, _actors
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.results.points import PointResult
from raykd.storage import Fence, no_fence
from raykd.worker.context import WorkerContext
from raykd.worker.job import PointJob
from raykd.worker.prepare import prepare

pytestmark = pytest.mark.cluster

ONE_CPU = WorkerResources(1.0, 0.0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without a CPU, and nodes to come."""
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FAST_FAILURE_DETECTION.items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        cluster.add_node(num_cpus=1)
    environment = {
        **WORKER_ENVIRONMENT,
        "PYTHONPATH": f"{WITH_WARM_WORKERS}:{ROOT / 'tests'}",
        "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "15",
        "RAYKD_PEER_LOST_SECONDS": "10",
    }
    ray.init(address=cluster.address, runtime_env={"env_vars": environment}, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def two_nodes(cluster) -> Cluster:
    """Two nodes of one CPU each, whatever became of those of another test."""
    for _ in range(2 - len(cluster.worker_nodes)):
        cluster.add_node(num_cpus=1)
    return cluster


def config(num_generations: int = 2, **compute) -> Identity:
    return point(
        data={"budget": 16},
        lineage={"num_generations": num_generations},
        training={"tokens_per_step": 256, "weight_decay": 0.01},
        compute={"executor": "train", "zero_stage": 2, **compute},
    )


def run(root: Path, wanted: Identity, fence: Fence = no_fence) -> PointResult:
    """The result of a point that a worker group ran to its end."""
    context = WorkerContext.open(Store(root), root, alone=True, threads=1)
    list(prepare(context, [wanted]))
    list(GroupExecutor(Place(Store(root, fence), root), ONE_CPU).reports(PointJob(wanted)))
    return Journal(context.store).points.result(wanted.id)


def weights(root: Path, result: PointResult) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(Store(root).artifact(result.artifact) / "model.safetensors")


def losses(root: Path, wanted: Identity) -> torch.Tensor:
    return torch.tensor([row for epoch in Journal.at(root).epochs.of(wanted.id) for row in epoch.losses])


class DiesOnce:
    """A fence that kills the worker that asks it, the so-manieth time, once."""

    def __init__(self, mark: Path, number: int) -> None:
        self.mark, self.left = mark, number

    def __call__(self) -> None:
        self.left -= 1
        if not self.left and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_inside_an_epoch_costs_nothing_but_time(two_nodes, tmp_path):
    wanted = config(num_workers=2, checkpoint_seconds=0)
    expected = run(tmp_path / "whole", wanted)
    found = run(tmp_path / "killed", wanted, DiesOnce(tmp_path / "mark", 17))
    assert (tmp_path / "mark").exists()
    assert found.scores == expected.scores
    ours, theirs = weights(tmp_path / "killed", found), weights(tmp_path / "whole", expected)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert torch.equal(losses(tmp_path / "killed", wanted), losses(tmp_path / "whole", wanted))


def test_what_drives_a_group_lives_on_the_node_of_its_trial(two_nodes, tmp_path):
    wanted, store = config(num_workers=2), Store(tmp_path)
    context = WorkerContext.open(store, tmp_path, alone=True, threads=1)
    list(prepare(context, [wanted]))
    with _actors(PointJob(wanted), Place(store, tmp_path)) as (driver, queue):
        places = [actor.__ray_call__.remote(_place) for actor in (driver, queue.actor)]
        assert set(ray.get(places)) == {ray.get_runtime_context().get_node_id()}


def _place(actor: object) -> str:
    return ray.get_runtime_context().get_node_id()


def slow() -> None:
    """A fence that makes a generation last for seconds."""
    time.sleep(0.4)


class Preempts(threading.Thread):
    """Takes a node away once training is under way, after notice, and looks for a checkpoint inside an epoch."""

    def __init__(self, cluster: Cluster, root: Path) -> None:
        super().__init__(daemon=True)
        self.cluster, self.root, self.saved = cluster, root, False

    def run(self) -> None:
        """Wait for the first epoch, drain a node, look until its time is up, and remove it."""
        while not list(self.root.glob("points/*/epochs/*.json")):
            time.sleep(0.2)
        node = min(self.cluster.worker_nodes, key=lambda node: node.node_id)
        deadline, for_preemption = time.time() + 10, 2
        client = ray._private.worker.global_worker.gcs_client
        client.drain_node(node.node_id, for_preemption, "a test takes it away", int(deadline * 1000))
        while time.time() < deadline + 2:
            names = [path.parent.name for path in self.root.glob("points/*/checkpoints/*/position.json")]
            self.saved |= any(name.split("-")[1] != "00000000" for name in names)
            time.sleep(0.1)
        self.cluster.remove_node(node, allow_graceful=False)


def test_a_node_that_goes_after_notice_leaves_a_checkpoint_and_the_point_goes_on_with_one_worker(two_nodes, tmp_path):
    keys = {"checkpoint_seconds": None, "max_worker_failures": 0}
    wanted, fixed = config(6, num_workers=[1, 2], **keys), config(6, num_workers=1)
    run(tmp_path / "whole", fixed)
    thief = Preempts(two_nodes, tmp_path / "elastic")
    thief.start()
    found = run(tmp_path / "elastic", wanted, slow)
    thief.join(1)
    assert thief.saved
    assert found.num_workers == 1
    difference = (losses(tmp_path / "elastic", wanted) - losses(tmp_path / "whole", fixed)).abs().max()
    assert difference < 1e-4
