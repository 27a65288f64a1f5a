"""Score a question-answering model folder on a data set, without a sweep."""

from pathlib import Path
from typing import Any, Literal

import torch

from raykd.config.base import Source
from raykd.data.batching import batches_for_inference
from raykd.models.qa import load_qa_model, load_tokenizer
from raykd.tasks.form import plain_inputs
from raykd.tasks.outcomes import Scores
from raykd.tasks.qa.answers import answer_rows, collect_ranked, score_predictions, spans_of
from raykd.tasks.qa.config import QaEvaluation
from raykd.tasks.qa.data import load_cells
from raykd.tasks.qa.sets import dev_set

MAX_QUESTION_LENGTH = 64


def evaluate(
    model: Path,
    *,
    data: str,
    languages: tuple[str, ...],
    diagonal: bool = False,
    max_items: int | None = None,
    normalization: Literal["squad", "mlqa"] = "mlqa",
    max_length: int = 384,
    stride: int = 128,
    n_best: int = 0,
) -> tuple[Scores, list[dict[str, Any]]]:
    """Scores of a model on the cells of a data set, and its answers.

    Args:
        model: its folder.
        data: a path in SQuAD format, with `{language}`, with `{question}` and `{context}`, or a single file.
        diagonal: only cells whose question and context have the same language.
        n_best: answers to keep for each question, best first; 0 keeps none.

    Returns:
        Scores, and for each question of each cell its id, languages, question and answers with scores.

    Raises:
        DataError: if model or data cannot be found or read.
    """
    here, name = Path.cwd(), str(model)
    config = QaEvaluation(
        source=Source(path=data), languages=languages, max_items=max_items, normalization=normalization
    )
    cells = load_cells(config, folder=here)
    if diagonal:
        cells = {cell: examples for cell, examples in cells.items() if cell[0] == cell[1]}
    tokenizer, loaded = load_tokenizer(name), load_qa_model(name, needs_head=True).eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded.to(device)
    dev = dev_set(cells, tokenizer, max_length=max_length, stride=stride, max_question_length=MAX_QUESTION_LENGTH)
    predictions: list[Any] = []
    ranked: dict[int, dict[str, float]] = {}
    with torch.no_grad():
        for micro in batches_for_inference(dev.features.lengths, tokens=config.batch_tokens, rank=0, world_size=1):
            batch = {key: tensor.to(device) for key, tensor in dev.features.collate(micro.indices).items()}
            outputs = loaded(**plain_inputs(batch))
            predictions += spans_of(outputs, batch, micro.indices, max_answer_tokens=config.max_answer_tokens)
            if n_best:
                options = {"n_best": n_best, "max_answer_tokens": config.max_answer_tokens}
                collect_ranked(ranked, outputs, batch, micro.indices, dev=dev, **options)
    scored = score_predictions(predictions, dev, normalization=normalization)
    return scored.scores, answer_rows(dev, ranked, n_best=n_best)
