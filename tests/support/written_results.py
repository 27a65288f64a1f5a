"""Results of a sweep as its runs leave them, written by hand."""

import time
from pathlib import Path
from typing import Any

from raykd.config.digest import dump
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from support.tiny_sweeps import point as point_of

COLUMNS = {"xlt_f1": "XLT F1", "gxlt_f1": "G-XLT F1"}


def begin(root: Path | str, *ids: str, **search: Any) -> Journal:
    """A sweep of these points, none of them recorded yet; without any, one whose searcher chooses them."""
    config = {**dump(point_of().config), "search": {"num_points": len(ids), **search}}
    journal = Journal(Store(root))
    journal.write_sweep({"name": "few-shot", "points": list(ids), "config": config})
    return journal


def add(journal: Journal, point_id: str, label: str | None = None, *, epochs: int = 3, **varied: Any) -> None:
    """Record a point of so many generations of one epoch."""
    config = dump(point_of(lineage={"num_generations": epochs}).config)
    described = {"id": point_id, "method": "skd", "label": label or f"skd {point_id}", "varied": varied, "base": "b"}
    journal.add(point_id, {**described, "config": config})


def report(epoch: int, *, of: int = 3, seconds: float = 10.0, loss: float = 0.5) -> dict[str, Any]:
    """An epoch's report, of a process that has done them all, each in so many seconds."""
    return {
        **{"epoch": epoch, "num_epochs": of, "generation": epoch, "loss": loss, "label": loss, "kd": 0.0, "parts": {}},
        **{"label_weight": 1.0, "kd_weight": 1.0, "coefficient": None, "dev_score": 20.0 + epoch, "watched": {}},
        **{"examples_per_second": 100.0, "tokens_per_second": 900.0, "train_seconds": seconds / 2},
        **{"elapsed_seconds": seconds * epoch, "seconds_left": seconds * (of - epoch), "gpu_memory_bytes": None},
        **{"teachers": ["b"], "losses": [[loss, loss, 0.0]], "written": time.time()},
    }


def pulse(epoch: int | None, *, share: float = 0.0, seconds_left: float | None = None) -> dict[str, Any]:
    """A sign of life of a process that trains the epoch after this one."""
    life = {"doing": "training", "count": 1, "allowed_silence": 30.0, "process": "process 1 on here"}
    return {**life, "epoch": epoch, "share": share, "seconds_left": seconds_left, "written": time.time()}


def result(score: float, *, epochs: int = 3, seconds: float = 30.0) -> dict[str, Any]:
    """The record of a finished point."""
    return {
        "scores": {"main": "gxlt_f1", "columns": COLUMNS, "xlt_f1": score + 5, "gxlt_f1": score},
        "generations": [{"index": index, "artifact": f"a{index}", "dev_score": 21.0} for index in range(1, epochs + 1)],
        "artifact": f"a{epochs}",
        "num_workers": 1,
        "seconds": seconds,
    }


def finish(journal: Journal, point_id: str, score: float, *, run: int = 0, seconds: float = 30.0) -> None:
    """Let a recorded point run to its end."""
    journal.start(point_id, run)
    for epoch in (1, 2, 3):
        journal.write_epoch(point_id, epoch, report(epoch))
    journal.write_result(point_id, result(score, seconds=seconds))
    journal.end(point_id, "finished")
