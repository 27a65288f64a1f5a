"""Score a QA model folder on a data set, without a sweep."""

from pathlib import Path
from typing import Any

import torch

from raykd.config.base import Source
from raykd.config.point import EvaluationConfig
from raykd.models.accelerator import settle_accelerator
from raykd.models.qa import load_qa_model, load_tokenizer
from raykd.results.models import locate_model
from raykd.tasks.outcomes import Scores
from raykd.tasks.qa.data import load_cells
from raykd.tasks.qa.task import answer_rows, collect_ranked, dev_set
from raykd.tasks.task import TASKS
from raykd.worker.loop import batches_for_inference

MAX_QUESTION_LENGTH = 64


def evaluate(
    model: str,
    *,
    data: str,
    languages: tuple[str, ...],
    diagonal: bool = False,
    max_items: int | None = None,
    normalization: str = "mlqa",
    max_length: int = 384,
    stride: int = 128,
    n_best: int = 0,
) -> tuple[Scores, list[dict[str, Any]]]:
    """Scores of a model on the cells of a data set, and its answers.

    Args:
        model: a folder, a Hub id, or `RESULTS#POINT`.
        data: a path in SQuAD format, with `{language}`, with `{question}` and `{context}`, or a single file.
        diagonal: only cells whose question and context have the same language.
        n_best: answers to keep for each question, best first; 0 keeps none.

    Returns:
        Scores, and for each question of each cell its id, languages, question and answers with scores.

    Raises:
        DataError: if model or data cannot be found or read.
    """
    settle_accelerator()
    here = Path.cwd()
    name = locate_model(model, folder=here)
    config = EvaluationConfig(
        source=Source(path=data), languages=languages, max_items=max_items, normalization=normalization
    )
    cells = load_cells(config, folder=here)
    if diagonal:
        cells = {cell: examples for cell, examples in cells.items() if cell[0] == cell[1]}
    tokenizer, loaded = load_tokenizer(name), load_qa_model(name, needs_head=True).eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded.to(device)
    dev = dev_set(cells, tokenizer, max_length=max_length, stride=stride, max_question_length=MAX_QUESTION_LENGTH)
    task, predictions, ranked = TASKS["qa"], [], {}
    with torch.no_grad():
        for micro in batches_for_inference(dev.features.lengths, tokens=config.batch_tokens, rank=0, world_size=1):
            batch = {key: tensor.to(device) for key, tensor in dev.features.collate(micro.indices).items()}
            outputs = loaded(**task.model_inputs(batch))
            predictions += task.predict(outputs, batch, micro.indices, config)
            if n_best:
                options = {"n_best": n_best, "max_answer_tokens": config.max_answer_tokens}
                collect_ranked(ranked, outputs, batch, micro.indices, dev=dev, **options)
    return task.score(predictions, dev, config).scores, answer_rows(dev, ranked, n_best=n_best)
