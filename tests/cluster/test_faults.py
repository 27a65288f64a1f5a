"""A sweep that is submitted to a cluster of several nodes ends as if nothing had happened, whatever is killed."""

import random
import urllib.error
from collections.abc import Callable
from typing import Any

import pytest
from support.faulty_sweep import (
    GROUP_WORKER,
    TRIAL,
    Outcome,
    SweepJob,
    kill,
    lose_driver,
    lose_head,
    small_quickstart,
    stop_job,
    trainers,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

METHODS = {
    "skd": {},
    "ce": {"distillation": {"kd_weight": 0}},
    "group": {"distillation": {"temperature": 4}, "compute": {"executor": "train"}},
}
"""Two points that train inside trial processes, and one that trains in a worker group."""


def sweep_of(*methods: str) -> dict[str, Any]:
    """A sweep of one point for each method."""
    return small_quickstart(methods={name: METHODS[name] for name in methods}, lineage={"num_generations": 6})


@pytest.fixture(scope="module")
def undisturbed(shared_cluster, tmp_path_factory) -> Outcome:
    """What all of the points end with where nothing happens."""
    job = SweepJob(shared_cluster, tmp_path_factory.mktemp("undisturbed"), sweep_of(*METHODS))
    assert "3 finished, 0 were done before" in job.finish(attempts=1)
    assert len(set(job.outcome().weights.values())) == 3
    return job.outcome()


@pytest.fixture
def begin(cluster, undisturbed, tmp_path) -> Callable[..., SweepJob]:
    """Submits a sweep of some of the points."""

    def submit(*methods: str) -> SweepJob:
        job = SweepJob(cluster, tmp_path / tmp_path.name, sweep_of(*methods))
        job.submit()
        return job

    return submit


def test_a_request_without_the_token_is_refused(cluster):
    for token in ("", "0" * 64):
        with pytest.raises(urllib.error.HTTPError) as refused:
            cluster.request("/api/jobs/", token=token)
        assert refused.value.code in (401, 403)
    assert isinstance(cluster.request("/api/jobs/"), list)


@pytest.mark.parametrize(("method", "kind"), [("skd", TRIAL), ("group", GROUP_WORKER)])
def test_a_worker_process_is_killed(begin, undisturbed, method, kind):
    job = begin(method)
    job.until_epoch(2)
    kill(*(worker.pid for worker in trainers(job.cluster, kind)))
    job.finish()
    assert job.outcome() == undisturbed.of(method)


def test_a_node_is_lost_with_all_that_runs_on_it(begin, undisturbed):
    job = begin("skd", "ce")
    job.until_epoch(2)
    name = trainers(job.cluster)[0].node
    (node,) = [node for node in job.cluster.nodes if node.name == name]
    job.cluster.kill_node(node)
    job.cluster.add_node()
    job.finish()
    assert job.outcome() == undisturbed.of("skd", "ce")


def test_the_driver_is_killed(begin, undisturbed):
    job = begin("skd", "ce")
    job.until_epoch(2, "skd")
    lose_driver(job, random.Random(1))
    assert job.status() == "FAILED"
    assert "skd seed=1: generation 1," not in job.finish()
    assert job.outcome() == undisturbed.of("skd", "ce")


def test_the_job_is_stopped_and_submitted_again(begin, undisturbed):
    job = begin("skd", "group")
    job.until_epoch(2, "group")
    stop_job(job, random.Random(1))
    assert job.status() == "STOPPED"
    # Ray now and then keeps a reservation of a job that was stopped: the next run gives it back.
    job.cluster.until_clean(but="placement group")
    assert "1 were done before" in job.finish()
    assert job.outcome() == undisturbed.of("skd", "group")


def test_the_head_is_killed_and_started_again(begin, undisturbed):
    job = begin("skd", "ce")
    job.until_epoch(2)
    lose_head(job, random.Random(1))
    assert job.is_over()
    job.finish()
    assert job.outcome() == undisturbed.of("skd", "ce")
