"""Score a QA model folder on a data set, without a sweep."""

from pathlib import Path
from typing import Any

import torch

from raykd.config.base import Source
from raykd.config.point import EvaluationConfig
from raykd.data.sources import locate_model
from raykd.loop import batches_for_inference
from raykd.models.qa import load_qa_model, load_tokenizer
from raykd.tasks.qa import best_answers, cells_to_json, model_inputs, score_cells, spans_of
from raykd.tasks.qa_data import load_cells
from raykd.tasks.qa_features import build_features
from raykd.tasks.scoring import summarize

INFERENCE_TOKENS = 16384


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
) -> dict[str, Any]:
    """Scores of a model on the cells of a data set, as a sweep's result holds them.

    Args:
        model: a folder, or a Hub id.
        data: a path in SQuAD format, with `{language}`, with `{question}` and `{context}`, or a single file.
        diagonal: only cells whose question and context have the same language.

    Raises:
        DataError: if model or data cannot be found or read.
    """
    here = Path.cwd()
    name = locate_model(model, folder=here)
    config = EvaluationConfig(source=Source(path=data), languages=languages, max_items=max_items, normalization=normalization)
    cells = load_cells(config, folder=here)
    if diagonal:
        cells = {cell: examples for cell, examples in cells.items() if cell[0] == cell[1]}
    examples = [example for members in cells.values() for example in members]
    tokenizer, loaded = load_tokenizer(name), load_qa_model(name).eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded.to(device)
    features = build_features(
        examples, tokenizer, max_length=max_length, stride=stride, max_question_length=64, no_answer="keep"
    )
    spans = []
    with torch.no_grad():
        for micro in batches_for_inference(features.lengths, tokens=INFERENCE_TOKENS, rank=0, world_size=1):
            batch = {key: tensor.to(device) for key, tensor in features.collate(micro.indices).items()}
            outputs = loaded(**model_inputs(batch))
            spans += spans_of(outputs, batch, micro.indices, max_answer_tokens=config.max_answer_tokens)
    numbers: dict[tuple[str, str], list[int]] = {}
    place = 0
    for cell, members in cells.items():
        numbers[cell] = list(range(place, place + len(members)))
        place += len(members)
    scores = score_cells(numbers, best_answers(features, examples, spans), examples, config)
    return {**summarize(scores), "cells": cells_to_json(scores)}
