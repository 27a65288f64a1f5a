"""The doctor as a user meets it, without a cluster."""

import json
from pathlib import Path

import pytest
import yaml
from support.jobs_api_server import TOKEN, JobsApi
from support.ray_cluster import free_ports
from support.tiny_sweeps import point, sweep

from raykd.cli import main
from raykd.doctor import cluster, inputs
from raykd.doctor.finding import Step
from raykd.doctor.token import explain
from raykd.executors.capacity import Capacity


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty current folder, no data folder, no cluster, no token, no Hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("RAYKD_DATA", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)


def told(checks):
    return [finding for finding in checks if not isinstance(finding, Step)]


def test_a_machine_in_order_has_no_error_and_a_file_is_looked_at(capsys):
    Path("sweep.yaml").write_text(yaml.safe_dump(sweep()))
    assert main(["doctor", "sweep.yaml", "--storage", "results/here", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["level"] for each in found} <= {"ok", "warning"}
    by_name = {each["what"]: each["found"] for each in found}
    assert "all points fit: 1" in by_name["capacity"]
    assert "HF_HUB_OFFLINE is set" in by_name["Hub"]
    assert "starts a local Ray" in by_name["Ray"]
    assert "3 data sets and models, all found" in by_name["sweep file"]
    assert not Path("results").exists()


def test_all_that_is_missing_is_said_at_once_with_what_to_do(capsys, monkeypatch):
    keys = sweep()
    keys["data"]["train"] = {"path": "gone.{language}.json"}
    Path("sweep.yaml").write_text(yaml.safe_dump(keys))
    Path("file").write_text("")
    monkeypatch.setenv("RAYKD_DATA", "nowhere")
    (port,) = free_ports(1)
    assert main(["doctor", "sweep.yaml", "--storage", "file/results", "--address", f"127.0.0.1:{port}"]) == 1
    said = capsys.readouterr().out
    assert "nowhere is not a folder" in said
    assert f"127.0.0.1:{port}: nothing answers (Connection refused)" in said
    assert "ray start --head" in said
    assert "cannot write here" in said
    assert "gone.en.json: not found" in said
    assert "Traceback" not in said


def test_a_file_with_a_typo_is_refused_before_anything_is_looked_at(capsys):
    Path("sweep.yaml").write_text(yaml.safe_dump(sweep(distillation={"temprature": 2})))
    assert main(["doctor", "sweep.yaml"]) == 2
    assert "did you mean 'temperature'?" in capsys.readouterr().err


def test_a_dashboard_is_asked_for_its_cluster_with_the_token(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    with JobsApi() as api:
        ray, nodes = told(cluster.cluster(api.address, None, None))
    assert (ray.level, nodes.level) == ("ok", "ok")
    assert f"knows the token from {tmp_path / 'token'}" in ray.found


def test_a_dashboard_that_refuses_the_token_names_where_it_was_found(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    with JobsApi() as api, pytest.raises(cluster.RaykdError, match="refused the token from RAY_AUTH_TOKEN"):
        list(cluster.cluster(api.address, None, None))


@pytest.mark.parametrize("address", ["auto", "local"])
def test_a_name_of_rays_own_is_not_looked_up(address):
    assert cluster.unreachable(address) is None


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "ray://127.0.0.1:x"])
def test_a_port_that_cannot_be_is_told(address):
    assert "ort" in cluster.unreachable(address)


def test_a_token_that_ray_refused_is_read_from_its_log(monkeypatch):
    log = "gcs_client.cc:210: Unauthenticated: RPC error: InvalidAuthToken: missing or incorrect"
    assert "none was sent" in explain(log)[0]
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert "refused the token" in explain(log)[0]
    assert explain("gcs_client.cc:210: TimedOut") is None


def test_points_that_never_fit_are_named():
    Path("sweep.yaml").write_text(yaml.safe_dump(sweep(compute={"num_workers": 3}, seeds=list(range(8)))))
    found = told(cluster.fit(Capacity(((2.0, 0.0),)), Path("sweep.yaml")))
    assert {each.level for each in found} == {"error"}
    assert len(found) == 6
    assert found[-1].found == "and 3 more points"
    assert "Fix: lower it" in found[0].found


def test_capacity_refuses_nothing_that_fits():
    Capacity(((2.0, 0.0),)).refuse_what_never_fits([("small", point().config)])


def test_a_hub_that_does_not_answer_is_a_warning(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(inputs, "hub_problem", lambda: "ConnectError: no route")
    (finding,) = told(inputs.hub())
    assert (finding.level, "no route" in finding.found) == ("warning", True)
    monkeypatch.setattr(inputs, "hub_problem", lambda: None)
    (finding,) = told(inputs.hub())
    assert (finding.level, finding.found) == ("ok", "answers")


def test_a_bucket_is_tried_under_its_own_name(bucket):
    (finding,) = told(inputs.storage(f"{bucket}/results"))
    assert (finding.level, finding.found) == ("ok", f"{bucket}/results: can be written and read from this machine")
