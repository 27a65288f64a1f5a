"""Which Ray this is right for: said in one place, asked for by the package, refused in one line."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from raykd.errors import ClusterError
from raykd.executors.ray_internals import RAY_VERSIONS, upload_limit

ROOT = Path(__file__).parents[2]


def test_the_package_asks_for_the_versions_that_are_known():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (ray,) = (each for each in map(Requirement, wanted) if each.name == "ray")
    assert ray.specifier == RAY_VERSIONS


def test_another_ray_is_refused_in_one_line(monkeypatch):
    assert upload_limit() > 0
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "3.0.0")
    with pytest.raises(ClusterError, match=r"^ray 3\.0\.0 is installed: raykd needs ray <2\.61,>=2\.60; inst"):
        upload_limit()
