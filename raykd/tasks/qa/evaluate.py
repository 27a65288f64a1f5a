"""Score a question-answering model folder on a data set, without a sweep."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from raykd.config.base import Source
from raykd.errors import DataError
from raykd.models.qa import load_qa_model, load_tokenizer
from raykd.tasks.evaluating import Forwarder, Precision, refuse_foreign
from raykd.tasks.outcomes import Evaluation
from raykd.tasks.predictor import Reading, most_tokens
from raykd.tasks.qa.answers import (
    Prediction,
    add_nulls,
    answer_rows,
    best_answers,
    choices_of,
    collect_ranked,
    null_margins,
    score_answers,
    scores_of,
    spans_of,
)
from raykd.tasks.qa.config import QaScored
from raykd.tasks.qa.data import load_cells
from raykd.tasks.qa.model import QaModel
from raykd.tasks.qa.no_answer import settled
from raykd.tasks.qa.scoring import QuestionScore, score_cell
from raykd.tasks.qa.sets import DevSet, dev_set
from raykd.tasks.qa.words import INFO

T = TypeVar("T")


def evaluate(
    model: Path,
    point: Mapping[str, Any],
    *,
    data: str,
    languages: tuple[str, ...] = ("en",),
    diagonal: bool = False,
    max_items: int | None = None,
    normalization: Literal["squad", "mlqa"] = "mlqa",
    max_length: int | None = None,
    stride: int | None = None,
    whole_words: bool | None = None,
    unanswerable: bool | None = None,
    null_threshold: float | None = None,
    precision: Precision = "float32",
    n_best: int = 0,
    say: Callable[[str], None] = lambda line: None,
    **foreign: Any,
) -> Evaluation:
    """Scores of a model on the cells of a data set, and its answers.

    Args:
        model: its folder.
        point: the configuration of the model's point, which says how texts are cut; empty where nobody knows it.
        data: a path in SQuAD format, with `{language}`, with `{question}` and `{context}`, or a single file.
        diagonal: only cells whose question and context have the same language; others need not be there.
        max_length, stride: tokens of a window, and those that neighbouring windows share; None: as the point has it.
        whole_words: answers begin and end at the edges of words; None: as the point has it.
        unanswerable: questions may have no answer; None: as the point has it.
        null_threshold: when none is given; None: as the point's selection set chose, or 0.
        n_best: answers to keep for each question, best first; 0 keeps none.
        say: told a line for each cell that is scored.

    Raises:
        DataError: if model or data cannot be found or read, the model cannot read such windows, or an option is foreign
            to question answering.
    """
    refuse_foreign(foreign, INFO.title)
    here, name = Path.cwd(), str(model)
    config = QaScored(
        source=Source(path=data),
        languages=languages,
        max_items=max_items,
        normalization=normalization,
        unanswerable=_or_usual(unanswerable, Reading.of(point, limit=Reading.max_length).unanswerable),
    )
    cells = load_cells(config, folder=here, diagonal=diagonal)
    tokenizer, loaded = load_tokenizer(name), load_qa_model(name, needs_head=True)
    forward = Forwarder.of(loaded, QaModel(), precision, config.batch_tokens)
    reading = _reading(point, most_tokens(loaded, tokenizer), max_length=max_length, stride=stride)
    reading = replace(
        reading,
        whole_words=_or_usual(whole_words, reading.whole_words),
        unanswerable=config.unanswerable,
        null_threshold=_or_usual(null_threshold, reading.null_threshold),
    )
    threshold = reading.null_threshold if reading.unanswerable else None
    if threshold is not None:
        say(f"no answer is given where it scores more than {threshold:g} above the best one")
    questions: dict[tuple[str, str], dict[str, QuestionScore]] = {}
    answers: dict[str, dict[str, str]] = {}
    rows: list[dict[str, Any]] = []
    # Windows take a hundred times the memory of their texts: those of one cell at a time.
    for cell, examples in cells.items():
        dev = dev_set(
            {cell: examples},
            tokenizer,
            max_length=reading.max_length,
            stride=reading.stride,
            max_question_length=reading.max_question_length,
            whole_words=reading.whole_words,
        )
        predictions, ranked = _predict(forward, dev, reading=reading, n_best=n_best)
        best = best_answers(dev.features, dev.examples, predictions)
        if threshold is None:
            scored = score_answers(dev.cells, best, dev.examples, normalization=normalization)
        else:
            margins = null_margins(dev.features, predictions)
            choices = choices_of(dev.cells, best, margins, dev.examples, normalization=normalization)
            scored = {name: settled(of_cell, threshold) for name, of_cell in choices.items()}
            best = {number: text for number, text in best.items() if margins[number] <= threshold}
            add_nulls(ranked, dev.features, predictions, threshold=threshold)
        questions |= scored
        answers["-".join(cell)] = {example.id: best.get(number, "") for number, example in enumerate(dev.examples)}
        rows += answer_rows(dev, ranked, n_best=n_best)
        say(f"{'-'.join(cell)}: F1 {score_cell(scored[cell].values()).f1:.1f}, questions: {len(examples)}")
    return Evaluation(scores_of(questions, threshold=threshold), rows, answers)


def _predict(
    forward: Forwarder, dev: DevSet, *, reading: Reading, n_best: int
) -> tuple[list[Prediction], dict[int, dict[str, float]]]:
    """The best span of every window, and the `n_best` answers of every question."""
    predictions: list[Prediction] = []
    ranked: dict[int, dict[str, float]] = {}
    most = reading.max_answer_tokens
    for indices, batch, outputs in forward(dev.features):
        predictions += spans_of(outputs, batch, indices, max_answer_tokens=most, unanswerable=reading.unanswerable)
        if n_best:
            collect_ranked(ranked, outputs, batch, indices, dev=dev, n_best=n_best, max_answer_tokens=most)
    return predictions, ranked


def _or_usual(asked: T | None, usual: T) -> T:
    return usual if asked is None else asked


def _reading(point: Mapping[str, Any], limit: int, *, max_length: int | None, stride: int | None) -> Reading:
    """How texts are cut: as asked for, or as the sweep that made the model had it, within what the model reads."""
    if max_length is not None and max_length > limit:
        raise DataError(f"--max-length {max_length}: the model reads at most {limit} tokens")
    usual = Reading.of(point, limit=limit)
    length = usual.max_length if max_length is None else max_length
    shared = min(usual.stride, length // 3) if stride is None else stride
    asked = min(usual.max_question_length, length // 4) if max_length is not None else usual.max_question_length
    if shared + asked + 8 >= length:
        raise DataError(
            f"--stride {shared}: with questions of up to {asked} tokens it leaves no room for the context in windows "
            f"of {length}; lower it, or raise --max-length"
        )
    return replace(usual, max_length=length, stride=shared, max_question_length=asked)
