"""Folders of sweeps that were never run: points of a real file with made-up results, told apart by seeded noise."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from raykd.config.digest import dump
from raykd.plan.file import load_sweep
from raykd.plan.points import Point, expand
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.tasks.outcomes import record_outcomes

SWEEPS = Path(__file__).parents[2] / "sweeps"
QUICKSTARTS = {
    "qa": SWEEPS / "quickstart.yaml",
    "tagging": SWEEPS / "quickstart-tagging.yaml",
    "parallel": SWEEPS / "quickstart-parallel.yaml",
}
NUM_ITEMS = 24
FINAL, RUNNING, FAILED = "finished", "running", "failed"


def fabricate(
    root: Path | str, file: Path | Mapping[str, Any], *, status: Callable[[Point], str] = lambda point: FINAL
) -> list[Point]:
    """What a run of a sweep file would leave at `root`; the file's points.

    Args:
        file: a sweep file, or its keys.
        status: of each point; `pending` ones leave nothing behind. What runs or failed did one epoch.
    """
    if not isinstance(file, Path):
        text = yaml.safe_dump(dict(file), sort_keys=False)
        file = root.with_suffix(".yaml")
        file.write_text(text, encoding="utf-8")
    sweep = load_sweep(file)
    points = list(expand(sweep))
    journal = Journal(Store(root))
    journal.write_sweep(
        {
            "name": sweep.name,
            "config": sweep.to_json(),
            "points": [point.id for point in points],
            "versions": {"raykd": "0.1.0", "torch": "2.13.0"},
            "hardware": {
                "processor": "A Processor",
                "nodes": [{"count": 2, "cpus": 8.0, "gpus": 1.0, "memory_gib": 64, "accelerators": ["H100"]}],
            },
            "source": {"commit": "0123456789abcdef", "changed": True},
            "started": 1_700_000_000.0,
            "data": {"data (Source(path=None), ('en', 'es'))": "ab" * 32, "evaluation EvaluationConfig()": "cd" * 32},
        }
    )
    for point in points:
        _add(journal, point, status(point))
    _score_base(journal, points)
    return points


def _add(journal: Journal, point: Point, status: str) -> None:
    config = dump(point.config)
    described = {"id": point.id, "method": point.method, "label": point.label, "varied": point.varied, "config": config}
    journal.add(point.id, {**described, "base": point.base})
    if status == "pending":
        return
    journal.start(point.id)
    lineage = config["lineage"]
    num_epochs = lineage["num_generations"] * lineage["epochs_per_generation"]
    for epoch in range(1, (num_epochs if status == FINAL else 1) + 1):
        journal.write_epoch(point.id, epoch, _epoch(point, epoch, num_epochs))
    if status == FINAL:
        scores, outcomes = _scored(point.config.task, point.config.evaluation.languages, _quality(point), point)
        journal.write_outcomes(point.id, outcomes)
        journal.write_result(point.id, _result(point, scores))
    if status != RUNNING:
        journal.end(point.id, status, error=None if status == FINAL else "CUDA out of memory")


def _score_base(journal: Journal, points: Sequence[Point]) -> None:
    for point in {point.base: point for point in points}.values():
        scores, outcomes = _scored(point.config.task, point.config.evaluation.languages, 20.0, point)
        base = point.base
        record = {"base": base, "model": point.config.base.model, "final": scores, "outcomes": outcomes}
        journal.store.write_json(f"scores/{base}.json", record)


def _quality(point: Point) -> float:
    """A mean score in percent: it grows with the budget and, a little, with the number of the method's letters."""
    budget = point.config.data.budget
    return 20.0 + 4 * np.log2(budget if isinstance(budget, int) else 256) + len(point.method)


def _noise(*names: Any) -> np.random.Generator:
    return np.random.default_rng([ord(letter) for name in names for letter in str(name)])


def _scored(task: str, languages: Sequence[str], quality: float, point: Point) -> tuple[dict, dict]:
    rng = _noise(point.id, quality)
    ids = [f"item-{number}" for number in range(NUM_ITEMS)]
    difficulty = _noise("difficulty").normal(0, 15, NUM_ITEMS)
    values = {
        language: np.clip(quality + difficulty + rng.normal(0, 8, NUM_ITEMS), 0, 100).tolist()
        for language in ([f"{q}-{c}" for q in languages for c in languages] if task == "qa" else languages)
    }
    means = {cell: float(np.mean(found)) for cell, found in values.items()}
    make = {"qa": _qa_scores, "tagging": _tagging_scores, "parallel": _parallel_scores}[task]
    scores = make(means, point)
    named = {cell: (ids, found) for cell, found in values.items()}
    trained = list(means) if task == "qa" else [cell for cell in means if cell in point.config.data.languages]
    return scores, record_outcomes(named, statistic="mean", unit="example", scores={scores["main"]: trained})


def _qa_scores(means: Mapping[str, float], point: Point) -> dict[str, Any]:
    cells = {cell: {"f1": mean, "exact_match": mean / 2, "num_questions": NUM_ITEMS} for cell, mean in means.items()}
    same = [mean for cell, mean in means.items() if len(set(cell.split("-"))) == 1]
    others = [mean for cell, mean in means.items() if len(set(cell.split("-"))) == 2]
    columns = {"xlt_f1": "XLT F1", "gxlt_f1": "G-XLT F1", "gxlt_off_diagonal_f1": "off-diagonal F1"}
    found = {
        "xlt_f1": float(np.mean(same)),
        "gxlt_f1": float(np.mean([*means.values()])),
        "gxlt_off_diagonal_f1": float(np.mean(others)),
        "gxlt_exact_match": float(np.mean([*means.values()])) / 2,
    }
    return {"main": "gxlt_f1", "columns": {**columns, "gxlt_exact_match": "G-XLT EM"}, **found, "cells": cells}


def _tagging_scores(means: Mapping[str, float], point: Point) -> dict[str, Any]:
    cells = {language: {"f1": mean, "accuracy": mean, "num_sentences": NUM_ITEMS} for language, mean in means.items()}
    return _by_language("f1", "F1", means, point) | {"cells": cells}


def _parallel_scores(means: Mapping[str, float], point: Point) -> dict[str, Any]:
    cells = {language: {"retrieval": mean} for language, mean in means.items()}
    scores = _by_language("retrieval", "retrieval", means, point)
    watched = {"effective_rank": 40.0, "std": 0.5, "mean_cosine": 0.2}
    scores["columns"] |= {"same-subject": "same-subject (zero-shot)", "effective_rank": "effective rank"}
    probes = {"same-subject": {language: {"accuracy": 60.0} for language in ("en", "es")}}
    found = {"same-subject": 60.0, "effective_rank": 40.0, "cells": cells}
    return scores | found | {"probes": probes, "watched": watched}


def _by_language(metric: str, word: str, means: Mapping[str, float], point: Point) -> dict[str, Any]:
    trained = point.config.data.languages
    columns = {metric: word, f"zero_shot_{metric}": f"zero-shot {word}"}
    columns |= {f"{metric}_{name}": name if name in trained else f"{name} (zero-shot)" for name in means}
    return {
        "main": metric,
        "metric": metric,
        "columns": columns,
        metric: float(np.mean([mean for name, mean in means.items() if name in trained])),
        f"zero_shot_{metric}": float(np.mean([mean for name, mean in means.items() if name not in trained])),
        **{f"{metric}_{name}": mean for name, mean in means.items()},
    }


def _epoch(point: Point, epoch: int, num_epochs: int) -> dict[str, Any]:
    per_generation, task = point.config.lineage.epochs_per_generation, point.config.task
    has_teacher = point.config.distillation.uses_teacher
    share = epoch / num_epochs
    return {
        "epoch": epoch,
        "num_epochs": num_epochs,
        "generation": (epoch - 1) // per_generation + 1,
        "loss": 2 - share,
        "label": 1 - share / 2,
        "kd": 1 - share / 2 if has_teacher else 0.0,
        "parts": {"word": 0.5, "sentence": 0.5 - share / 2} if task == "parallel" and has_teacher else {},
        "coefficient": (0.1 + 0.1 * share if point.method == "skd-map" else 1.0) if has_teacher else None,
        "dev_score": _quality(point) * (0.5 + share / 2),
        "watched": {"effective_rank": 50 - 10 * share, "std": 0.5, "mean_cosine": 0.2} if task == "parallel" else {},
        "examples_per_second": 500.0,
        "train_seconds": 1.0,
        "losses": [],
    }


def _result(point: Point, scores: Mapping[str, Any]) -> dict[str, Any]:
    budget, count = point.config.data.budget, point.config.lineage.num_generations
    return {
        "point": point.id,
        "scores": scores,
        "generations": [{"index": index, "dev_score": 10.0 * index} for index in range(1, count + 1)],
        "data": {"budget": {"size": budget if isinstance(budget, int) else 256}},
        "num_workers": 2,
        "device": "cpu",
        "num_threads": 4,
        "train_seconds": 3.0,
        "seconds": 5.0,
    }
