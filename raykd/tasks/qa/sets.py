"""What a point of task `qa` trains on, and what it is scored on, as windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raykd.data.examples import ParallelQA, QAExample
from raykd.tasks.qa.config import QaPoint
from raykd.tasks.qa.data import Cells, load_train
from raykd.tasks.qa.features import QAFeatures, build_features, with_questions


@dataclass(frozen=True)
class TrainSet:
    """What a point trains on.

    Attributes:
        features: the student's windows.
        teacher_features: what the teacher reads in their place, window for window.
        sha256: hash of the examples.
        description: what a record says of the data: the budget's ids and hash, counts of language pairs.
    """

    features: QAFeatures
    teacher_features: QAFeatures
    sha256: str
    description: dict[str, Any]


@dataclass(frozen=True)
class DevSet:
    """What a model is scored on: cells of example numbers, and the windows of all examples."""

    cells: dict[tuple[str, str], list[int]]
    examples: Sequence[QAExample]
    features: QAFeatures

    def first(self, count: int) -> "DevSet":
        """The first `count` questions of every cell."""
        cells = {cell: numbers[:count] for cell, numbers in self.cells.items()}
        kept = [number for numbers in cells.values() for number in numbers]
        return DevSet(cells, self.examples, self.features.take(np.flatnonzero(np.isin(self.features.example, kept))))


def train_set(config: QaPoint, tokenizer: Any, items: ParallelQA) -> TrainSet:
    """The windows of a point's budget."""
    data = load_train(config.data, items, seed=config.data_seed)
    features = build_features(data.examples, tokenizer, no_answer=config.data.no_answer, **config.window_options)
    seen = features
    if data.teacher_questions is not None:
        most = config.data.max_question_length
        seen = with_questions(features, data.teacher_questions, tokenizer, max_question_length=most)
    return TrainSet(features, seen, data.sha256, data.description())


def dev_set(self, config: PointConfig, tokenizer: Any, *, folder: Path, artifact: Path) -> DevSet:
        """The cells that a point is scored on."""
        return dev_set(load_cells(config.evaluation, folder=folder), tokenizer, **self.window_options(config))

    def taught_by(self, train: TrainSet, language: str | None) -> np.ndarray:
        """Indices of the windows that a teacher teaches: all, whatever it was trained on."""
        return np.arange(len(train.seen))

    def terms(
        self,
        outputs: Any,
        batch: dict[str, Tensor],
        teacher: TeacherSignals | None,
        config: DistillationConfig,
        *,
        padding: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Label and KD term of a batch, [B] each; no KD term without a teacher.

        Args:
            padding: whether the batch is padded to the maximum, so that padded positions may take part.
        """
        kd = kd_term(outputs, batch, teacher, config, padding=padding) if teacher is not None else None
        return label_term(outputs, batch, padding=padding), kd

    def stored_teacher(
        self,
        train: TrainSet,
        readings: Sequence[Reading],
        config: DistillationConfig,
        *,
        device: torch.device,
        pad_to: int | None,
        first: bool,
    ) -> StoredTeacher:
        """A teacher that reads its signals over `train.seen`; of several, their mean."""
        signals = average(readings)
        if train.seen is not train.features:
            signals = align_signals(signals, train.seen, train.features)
        return StoredTeacher(train.features, signals, config, device=device, pad_to=pad_to)

    def live_teacher(
        self,
        train: TrainSet,
        forward: Callable[..., Any],
        config: DistillationConfig,
        *,
        device: torch.device,
        pad_to: int | None,
        first: bool,
    ) -> LiveTeacher:
        """A teacher that forwards every batch again."""
        seen = None if train.seen is train.features else train.seen
        return LiveTeacher(forward, train.features, seen, config, device=device, pad_to=pad_to)

    def signals(self, outputs: Any) -> dict[str, Tensor]:
        """What is stored of a teacher's outputs: name -> [B, L, ...] float32."""
        return {"start": outputs.start_logits.float(), "end": outputs.end_logits.float()}

    def constants(self, outputs: Any) -> dict[str, Tensor]:
        """What is stored once a teacher: nothing."""
        return {}

    def of_teachers(self, scored: Mapping[str | None, Scored]) -> Scored:
        """The scores of generation 0: there is one teacher."""
        return scored[None]

    def mean_outputs(self, outputs: Sequence[Any]) -> Any:
        """The mean of several teachers' outputs."""
        first = outputs[0]
        first.start_logits = sum(each.start_logits.float() for each in outputs) / len(outputs)
        first.end_logits = sum(each.end_logits.float() for each in outputs) / len(outputs)
        return first

    def predict(
        self, outputs: Any, batch: dict[str, Tensor], indices: np.ndarray, evaluation: EvaluationConfig
    ) -> list[Prediction]:
        """The best span of every window of a batch."""
        return spans_of(outputs, batch, indices, max_answer_tokens=evaluation.max_answer_tokens)

    def score(self, predictions: Iterable[Prediction], dev: DevSet, evaluation: EvaluationConfig) -> Scored:
        """`COLUMNS` and `cells` by name, in percent, and which of them is the `main` one; F1 of every question."""
        answers = best_answers(dev.features, dev.examples, predictions)
        questions = score_answers(dev.cells, answers, dev.examples, normalization=evaluation.normalization)
        cells = {cell: score_cell(of_cell.values()) for cell, of_cell in questions.items()}
        scores = {"main": "gxlt_f1", "columns": COLUMNS, **summarize(cells), "cells": cells_to_json(cells)}
        return Scored(scores, _outcomes(questions))


def _outcomes(questions: Mapping[tuple[str, str], Mapping[str, QuestionScore]]) -> dict[str, Any]:
    """F1 of every question; a parallel question is one item in all cells."""
    names = {cell: "-".join(cell) for cell in questions}
    return record_outcomes(
        {names[cell]: (list(of_cell), [each.f1 for each in of_cell.values()]) for cell, of_cell in questions.items()},
        statistic="mean",
        unit="question",
        scores={
            "gxlt_f1": list(names.values()),
            "xlt_f1": [names[cell] for cell in names if cell[0] == cell[1]],
            "gxlt_off_diagonal_f1": [names[cell] for cell in names if cell[0] != cell[1]],
        },
    )


def collect_ranked(
    ranked: dict[int, dict[str, float]],
    outputs: Any,
    batch: dict[str, Tensor],
    indices: np.ndarray,
    *,
    dev: DevSet,
    n_best: int,
    max_answer_tokens: int,
) -> None:
    """Add the best spans of a batch of windows: example number -> answer -> score, the best one of equal answers."""
    for row, window in enumerate(indices.tolist()):
        first, past = dev.features.bounds[window : window + 2]
        length, number = past - first, int(dev.features.example[window])
        spans = best_spans(
            outputs.start_logits[row, :length].cpu(),
            outputs.end_logits[row, :length].cpu(),
            offsets=torch.from_numpy(dev.features.chars[first:past]),
            context_mask=batch["context_mask"][row, :length].cpu(),
            n_best=n_best,
            max_answer_tokens=max_answer_tokens,
        )
        answers = ranked.setdefault(number, {})
        for span in spans:
            text = dev.examples[number].context[span.start_char : span.end_char].strip()
            answers[text] = max(span.score, answers.get(text, span.score))


def answer_rows(dev: DevSet, ranked: dict[int, dict[str, float]], *, n_best: int) -> list[dict[str, Any]]:
    """What `collect_ranked` collected, a row for each question of each cell."""
    return [
        {
            "id": dev.examples[number].id,
            "question_language": dev.examples[number].question_language,
            "context_language": dev.examples[number].context_language,
            "question": dev.examples[number].question,
            "answers": [
                {"text": text, "score": score}
                for text, score in sorted(answers.items(), key=lambda pair: (-pair[1], pair[0]))[:n_best]
            ],
        }
        for number, answers in sorted(ranked.items())
    ]


def dev_set(cells: Cells, tokenizer: Any, **window_options: int) -> DevSet:
    """Cells as windows, every question of every cell with a number of its own."""
    examples: list[QAExample] = []
    numbers: dict[tuple[str, str], list[int]] = {}
    for cell, members in cells.items():
        numbers[cell] = list(range(len(examples), len(examples) + len(members)))
        examples += members
    return DevSet(numbers, examples, build_features(examples, tokenizer, no_answer="keep", **window_options))
