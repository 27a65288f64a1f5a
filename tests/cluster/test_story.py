"""The one story of a cluster that `make test` tells: submitted, hit, finished all the same, and read.

Two nodes, token authentication, the Jobs API; `make test-cluster` runs everything else that needs a cluster.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.browser import DESKTOP, PHONE, browser, is_no_wider_than_the_screen, opened
from support.faulty_sweep import GROUP_WORKER, kill, trainers
from support.finished_sweeps import finish
from support.ray_cluster import LocalCluster, until
from support.sweep_folder import losses, results
from support.tiny_sweeps import point, sweep

from raykd.cli import main
from raykd.results.artifacts import Store
from raykd.results.journal import Journal

TINY = {"data": {"budget": 16}, "compute": {"precision": "float32"}, "lineage": {"num_generations": 4}}
METHODS = {"alone": {}, "two-nodes": {"compute": {"num_workers": 2, "zero_stage": 2}}}
LABELS = [f"{method} seed=1" for method in METHODS]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    # A job's entrypoint is the `python` of PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with LocalCluster(num_nodes=2, environment={"PATH": path}) as started:
        yield started


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """Storage that both nodes see."""
    return tmp_path_factory.mktemp("shared")


def weights_of(root: Path, point_id: str) -> str:
    """SHA-256 of the weights that a point delivered."""
    store = Store(root)
    return store.record(Journal(store).points.result(point_id).artifact).files["model.safetensors"]


@pytest.mark.timeout(300)
def test_a_submitted_sweep_loses_a_worker_and_ends_as_if_nothing_had_happened(
    cluster, shared, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    Path("tiny.yaml").write_text(yaml.safe_dump(sweep(**TINY, methods=METHODS)))
    command = ["submit", "tiny.yaml", "--storage", str(shared), "--address", cluster.address]
    assert main(command) == 2
    assert "refused the token" in capsys.readouterr().err
    monkeypatch.setenv("RAY_AUTH_TOKEN", cluster.token)
    assert main([*command, "--no-follow"]) == 0

    journal = Journal.at(shared)

    def points() -> dict[str, str]:
        return {journal.points.description(name).method: name for name in journal.points.ids()}

    def is_under_way() -> bool:
        return "two-nodes" in points() and any(journal.epochs.of(points()["two-nodes"]))

    until(is_under_way, "first epoch on two nodes", seconds=150)
    group = trainers(cluster, GROUP_WORKER)
    assert {worker.node for worker in group} == {"n1", "n2"}
    kill(group[0].pid)
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "2 finished" in said
    assert "SUCCEEDED" in said

    name = finish(tmp_path / "undisturbed", point(**TINY))
    assert weights_of(shared, points()["alone"]) == weights_of(tmp_path / "undisturbed", name)
    one, two = (losses(label, str(shared)) for label in LABELS)
    assert (one - two).abs().max() < 1e-4
    assert results(str(shared))["two-nodes seed=1"].num_workers == 2
    cluster.until_clean(seconds=90)

    assert main(command) == 0
    assert "nothing to do: all 2 finished" in capsys.readouterr().out


def test_its_report_is_read_in_a_browser(shared, capsys):
    assert main(["report", str(shared)]) == 0
    file = (shared / "report.html").resolve()
    with browser() as chromium:
        for size in (PHONE, DESKTOP):
            with opened(chromium, file, size) as page:
                assert (page.said, page.asked) == ([], [])
                assert page.locator("h1").inner_text() == "tiny"
                assert all(page.get_by_text(method).count() for method in METHODS)
                assert is_no_wider_than_the_screen(page)
