"""A journal as a sweep of two points fills it, without a sweep, and trackers that hear of it."""

from pathlib import Path
from typing import Any

from raykd.config.digest import dump
from raykd.plan.file import sweep_of
from raykd.results.journal import Journal
from raykd.trackers import Trackers
from support.tiny_sweeps import point, sweep

POINTS = {"a1": "skd", "b1": "ce"}


def report(epoch: int, **changes: Any) -> dict[str, Any]:
    """An epoch's report; the loss of epoch n is 1/n."""
    return {
        "epoch": epoch,
        "num_epochs": 3,
        "generation": 1 + epoch // 3,
        "loss": 1 / epoch,
        "label": 0.5 / epoch,
        "kd": 0.25,
        "parts": {"word": 0.125},
        "label_weight": 1.0,
        "kd_weight": 0.5,
        "coefficient": None,
        "dev_score": 10.0 * epoch,
        "watched": {"cosine": 0.5},
        "examples_per_second": 100.0,
        "tokens_per_second": 1000.0,
        "train_seconds": 2.0,
        "elapsed_seconds": 2.0 * epoch,
        "teachers": ["base"],
        "losses": [[1.0, 0.5, 0.25, 0.125]],
        **changes,
    }


RESULT = {
    "scores": {
        "main": "gxlt_f1",
        "columns": {"gxlt_f1": "G-XLT F1"},
        "gxlt_f1": 60.0,
        "gxlt_off_diagonal_f1": None,
        "cells": {"en-en": {"f1": 80.0, "num_questions": 4}, "en-de": {"f1": 40.0, "num_questions": 4}},
    },
    "seconds": 7.0,
}


def fill(root: Path | str) -> Journal:
    """A sweep of which no point has begun."""
    journal = Journal.at(root)
    journal.write_sweep({"name": "tiny", "points": list(POINTS), "versions": {"raykd": "1.2"}})
    for point_id, method in POINTS.items():
        described = {"id": point_id, "method": method, "label": f"{method} seed=1", "varied": {"seed": 1}}
        journal.add(point_id, {**described, "base": "base", "config": dump(point().config)})
    return journal


def finish(journal: Journal, point_id: str) -> None:
    """Its result, and then its state."""
    journal.write_result(point_id, RESULT)
    journal.end(point_id, "finished")


def trackers(journal: Journal, said: list[str] | None = None, **config: Any) -> Trackers:
    """Of a sweep file with this section `trackers`; TensorBoard is off unless it says so."""
    keys = sweep(trackers={"tensorboard": False, **config})
    say = [].append if said is None else said.append
    return Trackers(sweep_of(keys), journal, say=say)
