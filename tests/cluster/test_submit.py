"""The cluster that `cluster/local.py` starts: two nodes, a token, loopback alone, and sweeps submitted to it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
import yaml
from support.ray_cluster import free_ports
from support.tiny_sweeps import sweep

from raykd.cli import main
from raykd.plan.file import load_sweep
from raykd.results.journal import Journal
from raykd.submit import Cluster, find_token, submission_id

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-this-test"
START_SECONDS = 120


@pytest.fixture(scope="module")
def local_cluster() -> Iterator[tuple[str, psutil.Process]]:
    """Its address and the process that holds it."""
    # A job's entrypoint is the `python` of PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "RAY_AUTH_TOKEN": TOKEN, "PYTHONPATH": str(ROOT), "PATH": path}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, ROOT / "cluster/local.py", "--cpus", "1", "--port", *map(str, free_ports(1))]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = next(line for line in process.stdout if line.startswith("http")).split(": ")[0]
            family = psutil.Process(process.pid)
            yield address, family
        finally:
            members = [family, *family.children(recursive=True)]
            process.send_signal(signal.SIGTERM)
            process.wait(START_SECONDS)
    _, left = psutil.wait_procs(members, timeout=10)
    assert left == []


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """This process knows the token, and leaves its environment as it was."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")


def test_a_request_without_the_token_is_refused(local_cluster, capsys, monkeypatch):
    address, _ = local_cluster
    jobs = f"{address}/api/jobs/"
    assert requests.get(jobs, timeout=30).status_code == 401
    assert requests.post(jobs, json={"entrypoint": "true"}, timeout=30).status_code == 401
    assert requests.get(jobs, headers={"Authorization": "Bearer wrong"}, timeout=30).status_code == 403
    assert requests.get(jobs, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30).status_code == 200

    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    assert main(["stop", "any", "--address", address]) == 2
    assert "refused the token from RAY_AUTH_TOKEN" in capsys.readouterr().err


def test_nothing_listens_beyond_loopback(local_cluster):
    _, family = local_cluster
    listening = {
        connection.laddr.ip
        for member in family.children(recursive=True)
        for connection in member.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    # The second is how a socket of both families writes the first.
    assert {"127.0.0.1"} <= listening <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_a_sweep_is_submitted_and_submitted_again_when_it_is_done(local_cluster, tmp_path, capsys):
    address, _ = local_cluster
    storage = tmp_path / "shared"
    keys = sweep(methods={"inline": {}, "two-nodes": {"compute": {"num_workers": 2}}}, lineage={"num_generations": 1})
    Path("tiny.yaml").write_text(yaml.safe_dump(keys))
    command = ["submit", "tiny.yaml", "--storage", str(storage), "--address", address]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "2 finished" in said
    assert "SUCCEEDED" in said
    journal = Journal.at(storage)
    assert {journal.points.state(point).status for point in journal.points.ids()} == {"finished"}

    assert main(command) == 0
    said = capsys.readouterr().out
    assert "0 finished, 2 were done before" in said

    plain = ["job", "submit", "--address", address, "--runtime-env", str(ROOT / "cluster/runtime_env.yaml")]
    sweep_again = ["python", "-m", "raykd", "sweep", "tiny.yaml", "--storage", str(storage)]
    ended = subprocess.run(
        [Path(sys.executable).with_name("ray"), *plain, "--working-dir", ".", "--", *sweep_again],
        env={**os.environ, "RAY_AUTH_MODE": "token"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "0 finished, 2 were done before" in ended.stdout

    assert not any(TOKEN in path.read_text(errors="replace") for path in storage.rglob("*") if path.is_file())


def test_a_sweep_that_is_stopped_goes_on_when_it_is_submitted_again(local_cluster, tmp_path, capsys):
    address, _ = local_cluster
    storage = tmp_path / "shared"
    keys = sweep(lineage={"num_generations": 4}, seeds=[1, 2], search={"max_concurrent": 1})
    Path("tiny.yaml").write_text(yaml.safe_dump(keys))
    command = ["submit", "tiny.yaml", "--storage", str(storage), "--address", address]
    assert main([*command, "--no-follow"]) == 0
    assert main([*command, "--no-follow"]) == 0
    assert "already on" in capsys.readouterr().out

    class Begun(Exception):
        """The first epoch was reported."""

    def watch(text: str) -> None:
        if "epoch 1/4" in text:
            raise Begun

    name = submission_id(load_sweep(Path("tiny.yaml")), str(storage))
    with pytest.raises(Begun):
        Cluster(address, find_token()).follow(name, write=watch)
    assert main(["stop", "tiny.yaml", "--storage", str(storage), "--address", address]) == 0
    assert capsys.readouterr().out == f"{name}: STOPPED\n"

    assert main(command) == 0
    assert f"{name}-2: SUCCEEDED" in capsys.readouterr().out
    journal = Journal.at(storage)
    assert [journal.points.state(point).status for point in journal.points.ids()] == ["finished", "finished"]
