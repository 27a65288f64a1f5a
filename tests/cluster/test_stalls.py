"""Nothing waits in silence: what cannot go on ends soon, and says what it waited for.

What a run waits for before it ends is half a minute (`raykd.waits`) and less here; the bounds are relative to it.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support.faulty_sweep import SweepJob, small_quickstart
from support.ray_cluster import LocalCluster, until
from support.sweep_folder import results, write
from support.tiny_sweeps import sweep

from raykd.cli import main
from raykd.results.journal import Journal
from raykd.results.lease import holder

pytestmark = pytest.mark.cluster

STALL_SECONDS, SILENCE_SECONDS = 8, 10
SLACK = 30
"""Seconds that an end may take beside what is waited for."""
NUM_GENERATIONS = 300


def test_what_can_never_fit_is_refused_at_once(capsys):
    started = time.monotonic()
    assert main(["sweep", write(sweep(compute={"cpus_per_worker": 512}))]) == 2
    assert "512 CPUs do not fit" in capsys.readouterr().err
    assert time.monotonic() - started < 60


def short_of_nodes(cluster: LocalCluster, folder: Path, **changes) -> SweepJob:
    """A job that soon ends when no node can hold what it asks for."""
    return SweepJob(cluster, folder, small_quickstart(**changes), RAYKD_STALL_SECONDS=STALL_SECONDS)


def test_a_cluster_that_lost_its_last_node_is_named(cluster, tmp_path):
    job = short_of_nodes(cluster, tmp_path / "without-nodes", lineage={"num_generations": 20})
    job.submit()
    job.until_epoch(2)
    for node in tuple(cluster.nodes):
        started = time.monotonic()
        cluster.kill_node(node)
    assert job.until_over() == "FAILED"
    assert time.monotonic() - started < STALL_SECONDS + SLACK
    assert re.search(r"raykd: nothing starts for \d+ s: no node can hold 1 CPU; .* on 1 node", cluster.logs(job.id))
    assert "Traceback" not in cluster.logs(job.id)
    cluster.add_node()
    job.submit()
    job.finish()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the sweep is that `running` runs."""
    folder = tmp_path_factory.mktemp("running")
    keys = sweep(lineage={"num_generations": NUM_GENERATIONS}, data={"budget": 32})
    (folder / "sweep.yaml").write_text(yaml.safe_dump(keys))
    return folder


@pytest.fixture(scope="module")
def processes() -> Iterator[list[subprocess.Popen]]:
    """Those that `running` started."""
    started: list[subprocess.Popen] = []
    yield started
    for process in started:
        with process, contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def running(folder, processes, monkeypatch) -> Callable[[], subprocess.Popen]:
    """Gives the process of a sweep in the middle of its lineage; where none runs, one goes on with it."""
    monkeypatch.chdir(folder)

    def start() -> subprocess.Popen:
        if not processes or processes[-1].poll() is not None:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "raykd", "sweep", "sweep.yaml"],
                    env={**os.environ, "PYTHONUNBUFFERED": "1", "RAYKD_SILENCE_SECONDS": str(SILENCE_SECONDS)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    start_new_session=True,
                )
            )
            epochs = (line for line in processes[-1].stdout if f"/{NUM_GENERATIONS}" in line)
            for _ in range(3):
                next(epochs)
        return processes[-1]

    return start


def test_a_second_run_of_a_folder_is_refused_while_the_first_one_lives(running, capsys):
    first = running()
    assert main(["sweep", "sweep.yaml"]) == 2
    assert f"process {first.pid} on" in capsys.readouterr().err
    assert results()["default seed=1"] is None


def test_a_run_that_is_told_to_end_leaves_a_clean_state_within_three_seconds(running):
    first, journal = running(), Journal.at(Path("runs/tiny"))
    (point,) = journal.points.ids()
    first.send_signal(signal.SIGTERM)
    until(lambda: holder(journal.store) is None, "end of the lease", seconds=3, interval=0.05)
    assert journal.points.state(point).status == "interrupted"
    assert journal.points.state(point).failures == 0
    said = first.communicate(timeout=60)[0]
    assert first.returncode == 130
    assert "run the same command again to resume" in said
    assert "Traceback" not in said
    assert journal.points.state(point).status == "interrupted"


def test_a_worker_that_stands_still_is_named_with_what_it_did(running):
    first, journal = running(), Journal.at(Path("runs/tiny"))
    (point,) = journal.points.ids()
    worker = int(re.search(r"process (\d+)", journal.heartbeats.find(point).process)[1])
    os.kill(worker, signal.SIGSTOP)
    started = time.monotonic()
    said = first.communicate(timeout=90)[0]
    assert time.monotonic() - started < SILENCE_SECONDS + SLACK
    assert first.returncode == 1
    assert re.search(rf"raykd: default seed=1: no heartbeat for \d+ s from process {worker} on .* \(generation", said)
    assert re.search(rf"\w+: ALIVE, process {worker},", said)
    assert "Traceback" not in said


def test_what_points_share_is_not_waited_for_in_vain(cluster, tmp_path):
    """A worker group that prepares loses its nodes before anything is trained."""
    shared = {"compute": {"num_workers": 2}, "base": {"train": {"epochs": 200}}}
    job = short_of_nodes(cluster, tmp_path / "lost", **shared)
    job.submit()
    until(lambda: any("RayTrainWorker" in worker.title for worker in cluster.workers()), "worker", seconds=90)
    started = time.monotonic()
    cluster.kill_node(cluster.nodes[0])
    assert job.until_over() == "FAILED"
    assert time.monotonic() - started < STALL_SECONDS + SLACK
    assert re.search(r"nothing starts for \d+ s: no node can hold", cluster.logs(job.id))
