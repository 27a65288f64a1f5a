"""Nothing is chosen by a test set: whatever the scores there, the same is delivered, shown first and taken home."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fabricated_results import fabricate
from support.points import epochs, opened, ready, run, weights
from support.tiny_sweeps import point, sweep

from raykd.api import load
from raykd.config.identity import Identity
from raykd.export.choice import chosen_point
from raykd.report.analysis import analyse
from raykd.report.compare import compare
from raykd.report.leaderboard import leaderboard
from raykd.report.tests import test_sections as sections_of
from raykd.results.artifacts import ArtifactRecord
from raykd.results.delivered import delivered_by
from raykd.results.find import Named, find_point
from raykd.results.journal import Journal
from raykd.results.records import read_records
from raykd.results.tests import BaseTest, PointTest
from raykd.status import read_status
from raykd.tasks.outcomes import record_outcomes

POINTS = {"methods": {"kd": {}, "ce": {"distillation": {"kd_weight": 0}}}, "seeds": [1, 2]}
SPACE = {"data.budget": [4, 8]}


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> Path:
    """A sweep that is done, with its weights."""
    keys = sweep(**POINTS, search={"space": SPACE})
    keys.pop("seed")
    root = tmp_path_factory.mktemp("made-up") / "runs"
    fabricate(root, keys)
    journal = Journal.at(root)
    for made in read_records(root).points:
        name = made.result.artifact
        journal.store.write_record(f"artifacts/{name}/record.json", ArtifactRecord(kind="generation", fingerprint=name))
    return root


def choices(root: Path) -> dict[str, Any]:
    """Everything that is chosen out of a sweep's results."""
    records, results = read_records(root), load(root)
    analysis = analyse(records)
    named = [Named.of(each) for each in records.points]
    few = {"num_resamples": 99}
    comparisons = [compare(records, **few)]
    comparisons += [compare(records.on_test(name), chosen_by=records, **few) for name in records.test_sets]
    return {
        "best": find_point(named, "best", where="here", finished=True).id,
        "in Python": results.best.id,
        "a model's name": delivered_by(root, "best").name,
        "exported": chosen_point(records, None).id,
        "status": read_status(root).best.id,
        "rows": [(row.method, dict(row.varied)) for row in leaderboard(root).rows],
        "frame": results.leaderboard()[["method", "data.budget"]].astype(str).values.tolist(),
        "configurations": [each.name for each in analysis.configurations],
        "contenders": [(each.name, each.best(analysis.main).name) for each in analysis.contenders],
        "compared": {frozenset((each.first, each.second)) for found in comparisons for each in found},
        "shown": [[row[:2] for row in section.blocks[1].rows] for section in sections_of(records, analysis)][:1],
    }


SCORE = st.floats(0, 100, allow_nan=False)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_score_on_a_test_set_changes_what_is_chosen(made_up, data):
    journal, records = Journal.at(made_up), read_records(made_up)
    write_tests(made_up, lambda name: 50.0)
    expected = choices(made_up)
    write_tests(made_up, lambda name: data.draw(SCORE, label=name))
    assert choices(made_up) == expected
    for each in records.points:
        journal.store.remove(journal.store.point(each.id) / "tests")
    untested = {key: value for key, value in choices(made_up).items() if key not in ("compared", "shown")}
    assert untested == {key: expected[key] for key in untested}


def write_tests(root: Path, score: Any) -> None:
    """Scores of all points and of generation 0 on a test set."""
    journal, records = Journal.at(root), read_records(root)
    for each in records.points:
        value = score(each.label)
        scores = copy.deepcopy(each.result.scores)
        scores = type(scores)(**{**vars(scores), "values": dict.fromkeys(scores.values, value)})
        outcomes = record_outcomes(
            {cell: (["a", "b"], [value, value]) for cell in scores.cells},
            statistic="mean",
            unit="question",
            scores={scores.main: list(scores.cells)},
        )
        test = PointTest(name="unseen", digest="d", artifact=each.result.artifact, scores=scores)
        journal.tests.write(each.id, test, outcomes)
        base = each.description.base
        journal.store.write_record(
            f"test-scores/{base}.json",
            BaseTest(name="unseen", digest="d", base=base, scores=scores, outcomes=outcomes),
        )


def test_a_point_is_the_same_with_and_without_test_sets(tmp_path):
    plain = point(lineage={"deliver": "best", "epochs_per_generation": 2})
    tests = {"unseen": {"source": {"builtin": "small-world", "num_items": 30, "share": [0.5, 1]}, "languages": ["en"]}}
    tested = Identity(type(plain.config).model_validate({**plain.config.model_dump(), "tests": tests}))
    assert (tested.id, tested.scores) == (plain.id, plain.scores)
    results, trained, found = [], [], []
    for name, each in (("plain", plain), ("tested", tested)):
        context = opened(tmp_path / name)
        ready(context, each)
        results.append(run(context, each))
        trained.append(weights(context, results[-1].artifact))
        found.append([report.losses for report in epochs(context, each)])
    assert results[0].artifact == results[1].artifact
    assert results[0].scores == results[1].scores
    assert found[0] == found[1]
    assert all(trained[0][name].equal(trained[1][name]) for name in trained[0])
    test = Journal.at(tmp_path / "tested").tests.of(tested.id)["unseen"]
    assert not math.isnan(test.scores.main_value)
    assert {*test.scores.cells} == {"en-en"}
