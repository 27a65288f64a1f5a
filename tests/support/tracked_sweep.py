"""A journal as a sweep of two points fills it, without a sweep, and trackers that hear of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from raykd.config.digest import dump
from raykd.plan.file import sweep_of
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.sweep import SweepDescription
from raykd.trackers import Trackers
from support import written_results
from support.tiny_sweeps import point, sweep
from support.written_results import description, scores_of

POINTS = {"a1": "skd", "b1": "ce"}


def report(epoch: int, **changes: Any) -> EpochReport:
    """An epoch's report; the loss of epoch n is 1/n."""
    made = written_results.report(
        epoch,
        generation=1 + epoch // 3,
        loss=1 / epoch,
        label_loss=0.5 / epoch,
        kd_loss=0.25,
        parts={"word": 0.125},
        kd_weight=0.5,
        dev_score=10.0 * epoch,
        watched={"cosine": 0.5},
        tokens_per_second=1000.0,
        train_seconds=2.0,
        elapsed_seconds=2.0 * epoch,
        teachers=("base",),
        losses=[[1.0, 0.5, 0.25, 0.125]],
    )
    return replace(made, **changes)


SCORES = scores_of(
    {"gxlt_f1": 60.0, "gxlt_off_diagonal_f1": None},
    {"gxlt_f1": "G-XLT F1"},
    cells={"en-en": {"f1": 80.0, "num_questions": 4}, "en-de": {"f1": 40.0, "num_questions": 4}},
)


def fill(root: Path | str) -> Journal:
    """A sweep of which no point has begun."""
    journal = Journal.at(root)
    journal.sweep.write(SweepDescription(name="tiny", points=tuple(POINTS), versions={"raykd": "1.2"}))
    config = dump(point().config)
    for point_id, method in POINTS.items():
        described = description(point_id, method, label=f"{method} seed=1", varied={"seed": 1}, base="base")
        journal.points.add(replace(described, config=config))
    return journal


def finish(journal: Journal, point_id: str) -> None:
    """Its result, and then its state."""
    journal.points.write_result(written_results.result(point_id, SCORES, seconds=7.0))
    journal.points.end(point_id, "finished")


def trackers(journal: Journal, said: list[str] | None = None, **config: Any) -> Trackers:
    """Of a sweep file with this section `trackers`; TensorBoard is off unless it says so."""
    keys = sweep(trackers={"tensorboard": False, **config})
    say = [].append if said is None else said.append
    return Trackers(sweep_of(keys), journal, say=say)
