"""Folders of sweeps that were never run: points of a real file with made-up results, told apart by seeded noise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from raykd.config.digest import dump
from raykd.plan.file import load_sweep
from raykd.plan.points import Point, expand
from raykd.results.artifacts import Store
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.points import GenerationRecord, PointDescription, PointResult
from raykd.results.sweep import BaseScores, Commit, Hardware, NodeKind, SweepDescription
from raykd.tasks.outcomes import Outcomes, Scores, record_outcomes

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
    journal.sweep.write(
        SweepDescription(
            name=sweep.name,
            config=sweep.to_json(),
            points=tuple(point.id for point in points),
            versions={"raykd": "0.1.0", "torch": "2.13.0"},
            hardware=Hardware("A Processor", (NodeKind(2, 8.0, 1.0, 64, ("H100",)),)),
            source=Commit("0123456789abcdef", changed=True),
            started=1_700_000_000.0,
            data={"data (Source(path=None), ('en', 'es'))": "ab" * 32, "selection SelectionConfig()": "cd" * 32},
        )
    )
    for point in points:
        _add(journal, point, status(point))
    _score_base(journal, points)
    return points


def _add(journal: Journal, point: Point, status: str) -> None:
    described = PointDescription(
        id=point.id,
        method=point.method,
        label=point.label,
        varied=point.varied,
        base=point.base,
        config=dump(point.config),
    )
    journal.points.add(described)
    if status == "pending":
        return
    journal.points.start(point.id)
    num_epochs = described.settings.num_epochs
    for epoch in range(1, (num_epochs if status == FINAL else 1) + 1):
        journal.epochs.write(point.id, _epoch(point, epoch, num_epochs))
    if status == FINAL:
        scores, outcomes = _scored(point.config.task, point.config.selection.languages, _quality(point), point)
        journal.points.write_outcomes(point.id, outcomes)
        journal.points.write_result(_result(point, scores))
    if status != RUNNING:
        journal.points.end(point.id, status, error=None if status == FINAL else "CUDA out of memory")


def _score_base(journal: Journal, points: Sequence[Point]) -> None:
    for point in {point.base: point for point in points}.values():
        scores, outcomes = _scored(point.config.task, point.config.selection.languages, 20.0, point)
        base = point.base
        record = BaseScores(base=base, model=point.config.base.model, final=scores, outcomes=outcomes)
        journal.store.write_record(f"scores/{base}.json", record)


def _quality(point: Point) -> float:
    """A mean score in percent: it grows with the budget and, a little, with the number of the method's letters."""
    budget = point.config.data.budget
    return 20.0 + 4 * np.log2(budget if isinstance(budget, int) else 256) + len(point.method)


def _noise(*names: Any) -> np.random.Generator:
    return np.random.default_rng([ord(letter) for name in names for letter in str(name)])


def _scored(task: str, languages: Sequence[str], quality: float, point: Point) -> tuple[Scores, Outcomes]:
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
    return scores, record_outcomes(named, statistic="mean", unit="example", scores={scores.main: trained})


def _qa_scores(means: Mapping[str, float], point: Point) -> Scores:
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
    columns |= {"gxlt_exact_match": "G-XLT EM"}
    return Scores(main="gxlt_f1", columns=columns, values=found, cells=cells, is_matrix=True)


def _tagging_scores(means: Mapping[str, float], point: Point) -> Scores:
    cells = {language: {"f1": mean, "accuracy": mean, "num_sentences": NUM_ITEMS} for language, mean in means.items()}
    return replace(_by_language("f1", "F1", means, point), cells=cells)


def _parallel_scores(means: Mapping[str, float], point: Point) -> Scores:
    cells = {language: {"retrieval": mean} for language, mean in means.items()}
    scores = _by_language("retrieval", "retrieval", means, point)
    watched = {"effective_rank": 40.0, "std": 0.5, "mean_cosine": 0.2}
    columns = {"same-subject": "same-subject (zero-shot)", "effective_rank": "effective rank"}
    return replace(
        scores,
        columns={**scores.columns, **columns},
        values={**scores.values, "same-subject": 60.0, "effective_rank": 40.0},
        cells=cells,
        probes={"same-subject": {language: {"accuracy": 60.0} for language in ("en", "es")}},
        watched=watched,
    )


def _by_language(metric: str, word: str, means: Mapping[str, float], point: Point) -> Scores:
    trained = point.config.data.languages
    columns = {metric: word, f"zero_shot_{metric}": f"zero-shot {word}"}
    columns |= {f"{metric}_{name}": name if name in trained else f"{name} (zero-shot)" for name in means}
    values = {
        metric: float(np.mean([mean for name, mean in means.items() if name in trained])),
        f"zero_shot_{metric}": float(np.mean([mean for name, mean in means.items() if name not in trained])),
        **{f"{metric}_{name}": mean for name, mean in means.items()},
    }
    return Scores(main=metric, metric=metric, columns=columns, values=values)


STEPS = 70
"""Of every epoch."""


def _epoch(point: Point, epoch: int, num_epochs: int) -> EpochReport:
    per_generation, task = point.config.lineage.epochs_per_generation, point.config.task
    has_teacher = point.config.distillation.uses_teacher
    share = epoch / num_epochs
    return EpochReport(
        epoch=epoch,
        num_epochs=num_epochs,
        generation=(epoch - 1) // per_generation + 1,
        loss=2 - share,
        label_loss=1 - share / 2,
        kd_loss=1 - share / 2 if has_teacher else 0.0,
        parts={"word": 0.5, "sentence": 0.5 - share / 2} if task == "parallel" and has_teacher else {},
        label_weight=1.0,
        kd_weight=1.0 if has_teacher else 0.0,
        coefficient=(0.1 + 0.1 * share if point.method == "skd-map" else 1.0) if has_teacher else None,
        dev_score=_quality(point) * (0.5 + share / 2),
        watched={"effective_rank": 50 - 10 * share, "std": 0.5, "mean_cosine": 0.2} if task == "parallel" else {},
        examples_per_second=500.0,
        tokens_per_second=5000.0,
        train_seconds=1.0,
        elapsed_seconds=1.5 * epoch,
        seconds_left=1.5 * (num_epochs - epoch),
        gpu_memory_bytes=None,
        written=1_700_000_000.0 + epoch,
        losses=[[2 - share, 1 - share / 2, 1 - share / 2]] * STEPS,
        coefficients=[[0.1 * epoch, 0.05]] * STEPS if point.method == "skd-map" else [],
    )


def _result(point: Point, scores: Scores) -> PointResult:
    budget, count = point.config.data.budget, point.config.lineage.num_generations
    return PointResult(
        point=point.id,
        artifact=f"{point.id}-{count}",
        base=point.base,
        scores=scores,
        generations=tuple(
            GenerationRecord(index, f"{point.id}-{index}", 10.0 * index) for index in range(1, count + 1)
        ),
        data={"budget": {"size": budget if isinstance(budget, int) else 256}},
        num_windows=100,
        num_workers=2,
        device="cpu",
        num_threads=4,
        train_seconds=3.0,
        seconds=5.0,
    )
