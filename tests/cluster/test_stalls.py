"""Nothing waits in silence: what cannot go on ends within a minute, and says what it waited for."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.faulty_sweep import SweepJob, small_quickstart
from support.ray_cluster import ROOT, LocalCluster, until
from support.sweep_folder import results, write
from support.tiny_sweeps import sweep

from raykd.cli import main
from raykd.results.journal import Journal
from raykd.results.lease import holder

pytestmark = pytest.mark.cluster


def test_what_can_never_fit_is_refused_at_once(capsys):
    started = time.monotonic()
    assert main(["sweep", write(sweep(compute={"cpus_per_worker": 512}))]) == 2
    assert "512 CPU(s) do not fit" in capsys.readouterr().err
    assert time.monotonic() - started < 60


def test_a_cluster_that_lost_its_last_node_is_named(tmp_path):
    with LocalCluster(num_nodes=1) as cluster:
        job = SweepJob(cluster, tmp_path / "lost", small_quickstart(lineage={"num_generations": 20}))
        job.submit()
        job.until_epoch(2)
        started = time.monotonic()
        cluster.kill_node(cluster.nodes[0])
        assert job.until_over() == "FAILED"
        assert time.monotonic() - started < 60
        assert re.search(r"raykd: nothing starts for \d+ s: no node can hold 1 CPU; .* on 1 node", cluster.logs(job.id))
        assert "Traceback" not in cluster.logs(job.id)
        cluster.add_node()
        job.submit()
        job.finish()


@pytest.fixture
def running(tmp_path):
    """A sweep in a process of its own, in the middle of its lineage."""
    write(sweep(lineage={"num_generations": 60}, data={"budget": 32}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "raykd", "sweep", "sweep.yaml"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        for line in process.stdout:
            if "epoch 3/60" in line:
                break
        yield process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_worker_that_stands_still_is_named_with_what_it_did(running):
    journal = Journal.at(Path("runs/tiny"))
    (point,) = journal.point_ids()
    worker = int(re.search(r"process (\d+)", journal.pulse(point)["process"])[1])
    os.kill(worker, signal.SIGSTOP)
    started = time.monotonic()
    said = running.communicate(timeout=90)[0]
    assert time.monotonic() - started < 60
    assert running.returncode == 1
    assert re.search(
        rf"raykd: default seed=1: no sign of life for \d+ s from process {worker} on .* \(generation", said
    )
    assert re.search(rf"\w+: ALIVE, process {worker},", said)
    assert "Traceback" not in said


def test_a_run_that_is_told_to_end_leaves_a_clean_state_within_three_seconds(running):
    journal = Journal.at(Path("runs/tiny"))
    (point,) = journal.point_ids()
    running.send_signal(signal.SIGTERM)
    until(lambda: holder(journal.store) is None, "end of the lease", seconds=3, interval=0.05)
    assert journal.state(point).status == "interrupted"
    assert journal.state(point).failures == 0
    said = running.communicate(timeout=60)[0]
    assert running.returncode == 130
    assert "run the same command again to resume" in said
    assert "Traceback" not in said
    assert journal.state(point).status == "interrupted"


def test_a_second_run_of_a_folder_is_refused_while_the_first_one_lives(running, capsys):
    assert main(["sweep", "sweep.yaml"]) == 2
    assert f"process {running.pid} on" in capsys.readouterr().err
    assert results()["default seed=1"] is None


def test_what_points_share_is_not_waited_for_in_vain(tmp_path):
    """A worker group that prepares loses its nodes before anything is trained."""
    with LocalCluster(num_nodes=2) as cluster:
        keys = small_quickstart(compute={"num_workers": 2}, base={"train": {"epochs": 200}})
        job = SweepJob(cluster, tmp_path / "lost", keys)
        job.submit()
        until(lambda: any("RayTrainWorker" in worker.title for worker in cluster.workers()), "worker", seconds=90)
        started = time.monotonic()
        cluster.kill_node(cluster.nodes[0])
        assert job.until_over() == "FAILED"
        assert time.monotonic() - started < 60
        assert re.search(r"nothing starts for \d+ s: no node can hold", cluster.logs(job.id))
