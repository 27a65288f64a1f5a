"""A local Ray of two CPUs, a cluster of two nodes, both started once, and a folder of each test's own."""

import os
from collections.abc import Iterator

import pytest
import ray
from support.ray_cluster import WITH_WARM_WORKERS, LocalCluster

NUM_NODES = 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares a cluster, or is in one file, stays in one process under pytest-xdist."""
    for item in items:
        shares = "shared_cluster" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("shared cluster" if shares else item.path.name))


@pytest.fixture(scope="session", autouse=True)
def warm_workers() -> Iterator[None]:
    """Workers of every Ray that is started here are forked from a warm process, see `support/warm`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (WITH_WARM_WORKERS, os.environ.get("PYTHONPATH")))))
        yield


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture(scope="session", autouse=True)
def local_ray() -> Iterator[None]:
    """Sweeps share the Ray that the first one starts, but for tests that take `own_ray`."""
    yield
    ray.shutdown()


@pytest.fixture
def own_ray() -> Iterator[None]:
    """A Ray that this test starts, with the environment that it has by then."""
    ray.shutdown()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[LocalCluster]:
    """Two nodes beside a head, for tests that take `cluster`, and for what is run undisturbed for several of them."""
    with LocalCluster(NUM_NODES) as started:
        yield started


@pytest.fixture
def cluster(shared_cluster) -> Iterator[LocalCluster]:
    """The shared cluster; with all its nodes and nothing else when a test begins, and when it ends."""
    yield shared_cluster
    for _ in range(NUM_NODES - len(shared_cluster.nodes)):
        shared_cluster.add_node()
    # A node that lost its head takes most of a minute to give up.
    shared_cluster.until_clean(seconds=90)
