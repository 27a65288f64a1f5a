"""A sweep that is submitted to a cluster of several nodes ends as if nothing had happened, whatever is killed."""

import random
import urllib.error

import pytest
from faults import GROUP_WORKER, TRIAL, SweepJob, kill, lose_driver, lose_head, small_quickstart, stop_job, trainers
from nodes import LocalCluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

KEYS = small_quickstart(
    methods={
        "skd": {},
        "ce": {"distillation": {"kd_weight": 0}},
        "group": {"distillation": {"temperature": 4}, "compute": {"executor": "train"}},
    },
    lineage={"num_generations": 6},
)
"""Two points that train inside trial processes, and one that trains in a worker group."""


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(num_nodes=2) as started:
        yield started


@pytest.fixture(scope="module")
def undisturbed(cluster, tmp_path_factory) -> dict:
    """What the sweep ends with where nothing happens."""
    job = SweepJob(cluster, tmp_path_factory.mktemp("undisturbed"), KEYS)
    job.submit()
    said = job.finish(attempts=1)
    assert "3 finished, 0 were done before" in said
    assert len(set(job.outcome()["weights"].values())) == 3
    return job.outcome()


@pytest.fixture
def job(cluster, undisturbed, tmp_path) -> SweepJob:
    """The sweep, submitted; at the end nothing of it is left on the cluster."""
    started = SweepJob(cluster, tmp_path / tmp_path.name, KEYS)
    started.submit()
    yield started
    # A node that lost its head takes most of a minute to give up.
    cluster.until_clean(seconds=90)


def test_a_request_without_the_token_is_refused(cluster):
    for token in ("", "0" * 64):
        with pytest.raises(urllib.error.HTTPError) as refused:
            cluster.request("/api/jobs/", token=token)
        assert refused.value.code in (401, 403)
    assert isinstance(cluster.request("/api/jobs/"), list)


@pytest.mark.parametrize(("method", "kind"), [("skd", TRIAL), ("group", GROUP_WORKER)])
def test_a_worker_process_is_killed(job, undisturbed, method, kind):
    job.until_epoch(2, method)
    kill(*(worker.pid for worker in trainers(job.cluster, kind)))
    job.finish()
    assert job.outcome() == undisturbed


def test_a_node_is_lost_with_all_that_runs_on_it(job, undisturbed):
    job.until_epoch(2)
    name = trainers(job.cluster)[0].node
    (node,) = [node for node in job.cluster.nodes if node.name == name]
    job.cluster.kill_node(node)
    job.cluster.add_node()
    job.finish()
    assert job.outcome() == undisturbed


def test_the_driver_is_killed(job, undisturbed):
    job.until_epoch(2, "skd")
    lose_driver(job, random.Random(1))
    assert job.status() == "FAILED"
    said = job.finish()
    assert "skd seed=1: generation 1," not in said
    assert job.outcome() == undisturbed


def test_the_job_is_stopped_and_submitted_again(job, undisturbed):
    job.until_epoch(2, "group")
    stop_job(job, random.Random(1))
    assert job.status() == "STOPPED"
    job.cluster.until_clean()
    said = job.finish()
    assert "2 were done before" in said
    assert job.outcome() == undisturbed


def test_the_head_is_killed_and_started_again(job, undisturbed):
    job.until_epoch(2)
    lose_head(job, random.Random(1))
    assert job.is_over()
    job.finish()
    assert job.outcome() == undisturbed
