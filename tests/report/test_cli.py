"""`raykd report`."""

import json

import pytest
from support.fabricated_results import QUICKSTARTS, fabricate

from raykd.cli import main


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("sweep") / "results"
    fabricate(root, QUICKSTARTS["tagging"])
    return root


def test_a_report_is_a_page_with_markdown_beside_it_and_the_outcome_on_the_terminal(results, capsys):
    assert main(["report", str(results)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("posterior at budget 192 scores best")
    assert said[-2:] == [str(results / "report.html"), str(results / "report.md")]
    assert (results / "report.html").read_text().startswith("<!doctype html>")
    assert "## Leaderboard" in (results / "report.md").read_text()


def test_files_may_be_named_and_the_outcome_said_as_json(results, tmp_path, capsys):
    page, beside = tmp_path / "a.html", tmp_path / "b.md"
    assert main(["report", str(results), "--output", str(page), "--markdown", str(beside), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["html"], said["markdown"]) == (str(page), str(beside))
    assert said["best"]["name"] == "posterior budget=192"
    assert page.exists()
    assert beside.exists()


def test_of_a_url_the_page_is_written_here(bucket, tmp_path, monkeypatch, capsys):
    fabricate(bucket, QUICKSTARTS["qa"], status=lambda point: "pending")
    monkeypatch.chdir(tmp_path)
    assert main(["report", bucket]) == 0
    assert "report-quickstart.html" in capsys.readouterr().out
    assert "No point of 12 is finished yet" in (tmp_path / "report-quickstart.html").read_text()


def test_a_folder_without_a_sweep_is_refused(tmp_path, capsys):
    for place in (tmp_path, tmp_path / "missing"):
        assert main(["report", str(place)]) == 2
        assert f"{place}: not a results folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(results, tmp_path, capsys):
    missing = tmp_path / "no" / "such" / "folder.html"
    assert main(["report", str(results), "--output", str(missing)]) == 2
    assert f"{missing}: cannot be written" in capsys.readouterr().err
