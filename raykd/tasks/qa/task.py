"""Extractive QA as a task: how its data becomes windows, what a batch costs, and how predictions are scored."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.config.point import DistillationConfig, EvaluationConfig, PointConfig
from raykd.data import smallworld
from raykd.data.examples import ParallelQA, QAExample
from raykd.models.qa import load_qa_model, tiny_qa_model
from raykd.tasks.outcomes import Outcomes, Scored, Scores, record_outcomes
from raykd.tasks.plain import PlainTask
from raykd.tasks.qa.data import Cells, hash_examples, load_cells, load_items, load_labelled, load_train
from raykd.tasks.qa.decode import best_spans
from raykd.tasks.qa.features import QAFeatures, build_features, with_questions
from raykd.tasks.qa.learning import (
    OUTPUTS,
    LiveTeacher,
    StoredTeacher,
    TeacherSignals,
    align_signals,
    best_answers,
    cells_to_json,
    kd_term,
    label_term,
    model_inputs,
    score_answers,
    spans_of,
)
from raykd.tasks.qa.scoring import QuestionScore, score_cell, summarize
from raykd.tasks.reading import Reading, average

Prediction = tuple[int, float, int, int]
"""Window, score, first and last token of its best span."""


@dataclass(frozen=True)
class TrainSet:
    """What a point trains on.

    Attributes:
        features: the student's windows.
        seen: what the teacher reads in their place, window for window.
        sha256: hash of the examples.
        description: what a record says of the data: the budget's ids and hash, counts of language pairs.
    """

    features: QAFeatures
    seen: QAFeatures
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


COLUMNS = {
    "xlt_f1": "XLT F1",
    "gxlt_f1": "G-XLT F1",
    "gxlt_off_diagonal_f1": "off-diagonal F1",
    "xlt_exact_match": "XLT EM",
    "gxlt_exact_match": "G-XLT EM",
}


class QATask(PlainTask):
    """The task `qa`."""

    outputs = OUTPUTS
    stored_dtype = torch.float32
    load_model = staticmethod(load_qa_model)
    build_tiny_tokenizer = staticmethod(smallworld.build_tokenizer)
    model_inputs = staticmethod(model_inputs)

    def tiny_model(self, config: PointConfig, tokenizer: Any, *, items: Any, seed: int) -> Any:
        """The model `builtin:tiny`."""
        return tiny_qa_model(tokenizer, seed=seed)

    def given_model(self, config: PointConfig, name: str, *, items: Any) -> Any:
        """The model that `base` names, before any training."""
        base = config.base
        return load_qa_model(
            name,
            gguf_file=base.gguf_file,
            bidirectional=base.bidirectional,
            dropout=base.train.dropout if base.train else None,
            needs_head=base.train is None,
        )

    def same_labels(self, teacher: Path, base: Path) -> None:
        """Nothing to compare: QA has no label set."""

    def window_options(self, config: PointConfig) -> dict[str, int]:
        """How examples are cut into windows; part of what identifies signals and scores."""
        data = config.data
        return {"max_length": data.max_length, "stride": data.stride, "max_question_length": data.max_question_length}

    def items(self, config: PointConfig, *, folder: Path) -> tuple[ParallelQA, str]:
        """All items that budgets are drawn from, and their hash."""
        items = load_items(config.data, folder=folder)
        return items, hash_examples([example for item in items.values() for example in item.values()])

    def train_set(
        self, config: PointConfig, tokenizer: Any, *, items: ParallelQA, folder: Path, artifact: Path
    ) -> TrainSet:
        """The windows of a point's budget."""
        data = load_train(config.data, seed=config.data_seed, folder=folder, items=items)
        options = self.window_options(config)
        features = build_features(data.examples, tokenizer, no_answer=config.data.no_answer, **options)
        seen = features
        if data.teacher_questions is not None:
            most = config.data.max_question_length
            seen = with_questions(features, data.teacher_questions, tokenizer, max_question_length=most)
        return TrainSet(features, seen, data.sha256, data.description())

    def labelled(
        self, config: PointConfig, tokenizer: Any, model: Any, *, folder: Path, language: str | None
    ) -> tuple[QAFeatures, str]:
        """The windows that generation 0 is trained on, and the hash of their examples."""
        examples = load_labelled(config.base.train, folder=folder)
        options = self.window_options(config)
        return build_features(examples, tokenizer, no_answer=config.data.no_answer, **options), hash_examples(examples)

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
        """`COLUMNS` and the G-XLT matrix, in percent; F1 of every question."""
        answers = best_answers(dev.features, dev.examples, predictions)
        questions = score_answers(dev.cells, answers, dev.examples, normalization=evaluation.normalization)
        cells = {cell: score_cell(of_cell.values()) for cell, of_cell in questions.items()}
        scores = Scores(
            main="gxlt_f1", columns=COLUMNS, values=summarize(cells), cells=cells_to_json(cells), is_matrix=True
        )
        return Scored(scores, _outcomes(questions))


def _outcomes(questions: Mapping[tuple[str, str], Mapping[str, QuestionScore]]) -> Outcomes:
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
