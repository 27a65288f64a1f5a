"""Records: one reader, one writer, a version; those of version 1 are read as the version of today."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.written_results import heartbeat, report, result, scores_of

from raykd.errors import ArtifactError
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.points import GenerationRecord, PointResult
from raykd.results.record import Record
from raykd.results.sweep import BaseScores
from raykd.tasks.outcomes import CellOutcomes, Outcomes


@dataclass(frozen=True)
class Inner:
    """A part of a record."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Sample(Record, version=3):
    """A record with whatever a record may hold."""

    score: float | None
    inner: Inner
    counts: Mapping[str, int | float] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @classmethod
    def upgraded(cls, content):
        return {**content, "score": content["points"]}


SAMPLE = Sample(score=61.5, inner=Inner("a"), counts={"hits": 3, "share": 0.5}, names=("x", "y"))


def through_a_file(record: Record) -> Record:
    written = json.loads(json.dumps(record.to_json()))
    return type(record).from_json(written, where="file.json")


def refused(content) -> str:
    with pytest.raises(ArtifactError) as caught:
        Sample.from_json(content, where="points/a/sample.json")
    (line,) = caught.value.problems
    return line


@pytest.mark.parametrize("record", [SAMPLE, report(2), heartbeat(1, share=0.5), result("a1", 61.5)])
def test_a_record_is_read_as_it_was_written(record):
    assert through_a_file(record) == record
    assert record.to_json()["version"] == type(record).version


def test_a_count_stays_a_whole_number():
    assert {name: type(value) for name, value in through_a_file(SAMPLE).counts.items()} == {"hits": int, "share": float}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 4}, "written by a newer raykd (version 4 of this record, known up to 3); use that one"),
        ({"version": "3"}, "version: got '3'; it must be a number from 1"),
        ({"extra": 1}, "extra: unknown field, got 1"),
        ({"inner": {"name": "a", "size": 2}}, "inner.size: unknown field, got 2"),
        ({"inner": {}}, "inner.name: missing"),
        ({"score": "high"}, "score: Input should be a valid number"),
        ({"names": ["x", 2]}, "names.1: Input should be a valid string, got 2"),
    ],
)
def test_what_is_wrong_with_a_record_is_one_line_with_file_and_field(change, said):
    line = refused({**SAMPLE.to_json(), **change})
    assert line.startswith(f"points/a/sample.json: {said}")
    assert "\n" not in line


@pytest.mark.parametrize("content", [[], None, "text", {"inner": {"name": "a"}}])
def test_what_is_no_record_is_one_line(content):
    assert refused(content).startswith("points/a/sample.json: not a Sample of version 1")


def test_a_field_that_is_missing_is_named():
    content = SAMPLE.to_json()
    del content["score"]
    assert refused(content) == "points/a/sample.json: score: missing"


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_whatever_a_file_holds_is_a_record_or_an_error(content):
    for kind in (EpochReport, PointResult, BaseScores):
        with pytest.raises(ArtifactError):
            kind.from_json(content, where="file.json")


# Version 1 --------------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal.at(tmp_path)


def flat_scores(**values: float | None) -> dict:
    """Scores as version 1 wrote them."""
    return {"main": "gxlt_f1", "columns": {"gxlt_f1": "G-XLT F1"}, **values, "cells": {"en-en": {"f1": 80.0}}}


def test_an_epoch_of_version_1_is_read(journal):
    wanted = report(1, label_loss=0.25, kd_loss=0.75, written=5.0)
    content = asdict(wanted)
    content |= {"label": content.pop("label_loss"), "kd": content.pop("kd_loss")}
    journal.store.write_json("points/a1/epochs/0001.json", content)
    assert list(journal.epochs.of("a1")) == [wanted]


def test_a_result_of_version_1_is_read(journal):
    scores = scores_of({"gxlt_f1": 60.0, "xlt_f1": None}, {"gxlt_f1": "G-XLT F1"}, cells={"en-en": {"f1": 80.0}})
    wanted = result("a1", scores)
    content = {**asdict(wanted), "scores": flat_scores(gxlt_f1=60.0, xlt_f1=None)}
    journal.store.write_json("points/a1/result.json", content)
    assert journal.points.result("a1") == wanted


def test_scores_by_language_of_version_1_name_their_metric(journal):
    by_language = {"main": "retrieval", "metric": "retrieval", "columns": {"retrieval": "retrieval"}, "retrieval": 40.0}
    probes, watched = {"same": {"es": {"accuracy": 60.0}}}, {"std": 0.5}
    scores = {**by_language, "cells": {"es": {"retrieval": 40.0}}, "probes": probes, "watched": watched}
    journal.store.write_json("points/a1/result.json", {**asdict(result("a1", 0.0)), "scores": scores})
    read = journal.points.result("a1").scores
    assert (read.main_value, read.metric, read.is_matrix) == (40.0, "retrieval", False)
    assert (read.probes, read.watched) == (probes, watched)


def test_generations_and_outcomes_of_version_1_are_read(journal):
    journal.store.write_json("points/a1/generations.json", [asdict(GenerationRecord(1, "g1", 20.5))])
    assert journal.points.generations("a1") == (GenerationRecord(1, "g1", 20.5),)
    cells = {"en": CellOutcomes("0" * 16, [100.0, 23.0])}
    outcomes = Outcomes(statistic="mean", unit="question", scores={"gxlt_f1": ["en"]}, items={}, cells=cells)
    journal.store.write_json("points/a1/outcomes.json", asdict(outcomes))
    assert journal.points.outcomes("a1") == outcomes


def test_a_generation_0_of_version_1_is_read_with_and_without_an_epoch_sample(journal):
    content = {"base": "b", "model": "m", "outcomes": None, "final": flat_scores(gxlt_f1=20.0)}
    journal.store.write_json("scores/x.json", content)
    journal.store.write_json("scores/y.json", {**content, "epoch": flat_scores(gxlt_f1=10.0)})
    first, second = journal.sweep.base_scores()
    assert (first.final.main_value, first.epoch) == (20.0, None)
    assert second.epoch.main_value == 10.0


def test_a_state_and_a_point_of_version_1_are_those_of_today_without_a_version(journal):
    journal.store.write_json("points/a1/state.json", {"status": "failed", "attempts": 2, "error": "out of memory"})
    assert (journal.points.state("a1").status, journal.points.state("a1").attempts) == ("failed", 2)
    described = {"id": "a1", "method": "skd", "label": "skd seed=1", "varied": {"seed": 1}, "base": "b", "config": {}}
    journal.store.write_json("points/a1/point.json", {**described, "suggested": None})
    assert journal.points.description("a1").varied_but_seed == {}
