"""A whole sweep whose results are on an S3 server of this machine."""

import json

import pytest
from support.sweep_folder import write
from support.tiny_sweeps import sweep

from raykd.cli import main
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.storage import machine_folder

pytestmark = pytest.mark.cluster


def test_a_sweep_on_an_object_store_is_finished_read_and_cleaned_by_url(bucket, own_ray, capsys):
    keys = sweep(methods={"inline": {}, "group": {"compute": {"num_workers": 2, "zero_stage": 2}}})
    assert main(["sweep", write(keys), "--storage", bucket]) == 0
    assert "2 finished, 0 were done before" in capsys.readouterr().out
    journal = Journal.at(bucket)
    artifacts = {journal.points.result(point_id).artifact for point_id in journal.points.ids()}
    assert len(artifacts) == 2
    for name in artifacts:
        assert Store(bucket).verify(name).generation == 2
    assert not (machine_folder(bucket) / "ray").exists()

    assert main(["sweep", "sweep.yaml", "--storage", bucket]) == 0
    assert "0 finished, 2 were done before" in capsys.readouterr().out

    assert main(["gc", bucket, "--delete", "--json"]) == 0
    deleted = {each["name"].split("/")[0] for each in json.loads(capsys.readouterr().out)}
    assert deleted == {"signals"}
    assert main(["leaderboard", bucket, "--json"]) == 0
    assert [row["num_seeds"] for row in json.loads(capsys.readouterr().out)["rows"]] == [1, 1, 1]
