"""A sentence encoder outside of raykd."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import AutoModel

from raykd.data import smallworld
from raykd.models.files import SENTENCE_CONFIG
from raykd.models.plain import plain_encoder
from raykd.tasks.form import LANGUAGES, Batch, borders, plain_inputs
from raykd.tasks.parallel.config import ParallelPoint
from raykd.tasks.plain import PlainForm

_PARALLEL = """\
import torch
from transformers import AutoModel, AutoTokenizer

name = "{name}"  # this folder, or its id on the Hub
tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name{options}).eval()
sentences = ["Ada was born in London.", "Ada wurde in London geboren."]
encoded = tokenizer(sentences, padding=True, truncation=True, max_length={max_length}, return_tensors="pt")
with torch.no_grad():
    hidden = model(**encoded).last_hidden_state
vectors = {pooled}
print(torch.cosine_similarity(vectors[0], vectors[1], dim=0).item())"""

_MEAN = 'torch.stack([row[mask.bool()].mean(dim=0) for row, mask in zip(hidden, encoded["attention_mask"])])'


class EncoderForm(PlainForm):
    """Hidden states."""

    outputs = ("last_hidden_state",)
    auto_class = AutoModel
    own_files = (SENTENCE_CONFIG,)

    def plain(self, model: Any) -> Any:
        return plain_encoder(model)

    def load_options(self, kind: type[Any]) -> dict[str, Any]:
        has_pooler = "add_pooling_layer" in inspect.signature(kind).parameters
        return {"add_pooling_layer": False} if has_pooler else {}

    def batches(self, tokenizer: Any, model: Any, config: ParallelPoint) -> list[Batch]:
        items = smallworld.parallel_items("dev", 2, languages=LANGUAGES)
        texts = [text for item in items.values() for each in item.values() for text in (each.question, each.context)]
        options = {"truncation": True, "max_length": config.data.max_length, "padding": True, "return_tensors": "pt"}
        return [dict(tokenizer(texts[first:past], **options)) for first, past in borders(len(texts))]

    def answers(self, model: Any, batch: Batch) -> list[Tensor]:
        return [model.hidden(**plain_inputs(batch))]

    def decisions(self, answers: Sequence[Tensor], batch: Batch, model: Any) -> list[Any]:
        return []

    def usage(
        self, config: ParallelPoint, model: Any, *, name: str, words_bring_spaces: bool, options: Mapping[str, Any]
    ) -> str:
        pooled = "hidden[:, 0]" if model.pooling == "cls" else _MEAN
        given = "".join(f", {key}={value!r}" for key, value in options.items())
        return _PARALLEL.format(name=name, max_length=config.data.max_length, pooled=pooled, options=given)
