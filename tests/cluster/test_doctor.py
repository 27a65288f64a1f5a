"""The doctor at a cluster with token authentication."""

import pytest
from support.ray_cluster import HEAD_IP

from raykd.doctor.bounded import Check, run_checks
from raykd.doctor.cluster import cluster as look
from raykd.doctor.token import explain

pytestmark = pytest.mark.cluster


def looked_at(cluster, root):
    return list(run_checks([Check("Ray", look, (f"{HEAD_IP}:{cluster.port}", None, root), explain)]))


def test_every_node_is_asked_for_its_versions_and_for_the_storage(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", cluster.token)
    monkeypatch.setenv("PYTHONPATH", cluster.environment["PYTHONPATH"])
    found = looked_at(cluster, tmp_path)
    assert {each.level for each in found} == {"ok"}, found
    asked, *nodes, stored = found
    assert (asked.what, stored.what) == ("Ray", "storage")
    assert sorted(each.what for each in nodes) == sorted(f"node {name}" for name in cluster.alive())
    assert "3 nodes, 2 CPUs, 0 GPUs" in asked.found
    assert all("raykd 0." in each.found for each in nodes if each.what != "node head")
    assert "every node can read it" in stored.found


@pytest.mark.parametrize(
    ("mode", "token", "reason"),
    [
        ("token", "0" * 64, "the cluster refused the token"),
        ("", "", "the cluster needs a token, and none was sent: RAY_AUTH_MODE is not token"),
    ],
)
def test_a_wrong_token_is_named_within_seconds(cluster, monkeypatch, mode, token, reason):
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    (finding,) = looked_at(cluster, None)
    assert (finding.level, finding.found) == ("error", reason)
    assert "RAY_AUTH_TOKEN" in finding.todo
