"""A local Ray of two CPUs, in a folder of each test's own."""

import pytest
import ray


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    """The sweeps of a file share the Ray that the first one starts."""
    yield
    ray.shutdown()
