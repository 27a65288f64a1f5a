"""Test sets and races in a report."""

from dataclasses import replace

import pytest
from support.fabricated_results import fabricate
from support.tiny_sweeps import sweep

from raykd.report.analysis import analyse
from raykd.report.racing import race_section
from raykd.report.tests import test_sections as sections_of
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.results.records import read_records
from raykd.results.tests import BaseTest, PointTest

METHODS = {"kd": {}, "ce": {"distillation": {"kd_weight": 0}}, "third": {"training": {"warmup": 0.1}}}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A race of two budgets that is done, and a test set that turns its order round."""
    race = {"algorithm": "race", "race": {"min_items": 2}, "space": {"data.budget": [4, 8]}}
    keys = sweep(methods=METHODS, seeds=[1, 2, 3], search=race)
    keys.pop("seed")
    root = tmp_path_factory.mktemp("race") / "runs"
    fabricate(root, keys)
    journal = Journal(Store(root))
    for point in read_records(root).points:
        scores = point.result.scores
        turned = replace(scores, values={name: 100 - value for name, value in scores.values.items()})
        test = PointTest(name="unseen", digest="d", artifact=point.result.artifact, scores=turned)
        journal.tests.write(point.id, test, point.outcomes or journal.points.outcomes(point.id))
    for base in read_records(root).bases:
        found = BaseTest(name="unseen", digest="d", base=base.base, scores=base.final, outcomes=base.outcomes)
        journal.store.write_record(f"test-scores/{base.base}.json", found)
    return read_records(root)


def test_a_test_set_is_shown_in_the_order_of_the_selection_set(records):
    chosen = analyse(records)
    (section,) = sections_of(records, chosen)
    scores, languages = section.blocks[1], section.blocks[2]
    order = [(each.method, str(each.budget)) for each in chosen.configurations]
    assert [row[:2] for row in scores.rows] == [*order, ("generation 0", "–")]
    assert [float(row[2].split()[0]) for row in scores.rows[:-1]] != sorted(
        (float(row[2].split()[0]) for row in scores.rows[:-1]), reverse=True
    )
    assert languages.headings == ("method", "en", "es", "zh")


def test_languages_are_compared_within_the_budget_of_what_was_chosen(records):
    (section,) = sections_of(records, analyse(records))
    table = section.blocks[-1]
    assert table.headings[:2] == ("comparison", "language")
    assert {row[1] for row in table.rows} == {"en", "es", "zh"}
    assert len(table.rows) == 3 * 3  # two rivals and generation 0
    assert not any("budget" in row[0] for row in table.rows)


def test_a_race_has_a_table_for_each_budget_and_its_leader_no_test(records):
    section = race_section(analyse(records))
    few, many = section.blocks[1:]
    assert few.caption.startswith("Budget 4: over after ") and many.caption.startswith("Budget 8: over after ")
    for table in (few, many):
        assert len(table.rows) == len(METHODS)
        assert table.rows[0][1:] == ("–",) * 6 + ("leads",)
        assert all(row[-1] == "in" or row[-1].startswith("out after round ") for row in table.rows[1:])
    assert race_section(analyse(replace(records, description=replace(records.description, config={})))) is None
