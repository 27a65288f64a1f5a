"""Question-answering models in and out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from raykd.data import smallworld
from raykd.models.qa import load_qa_model, load_tokenizer, tiny_qa_model
from raykd.tasks.qa.config import QaPoint

MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The part of a batch that a model reads."""
    return {name: batch[name] for name in MODEL_INPUTS if name in batch}


class QaModel:
    """See `raykd.tasks.task.TaskModel`."""

    def build_tiny_tokenizer(self, folder: Path) -> None:
        smallworld.build_tokenizer(folder)

    def tiny(self, config: QaPoint, tokenizer: Any, *, items: Any, seed: int) -> Any:
        return tiny_qa_model(tokenizer, seed=seed)

    def given(self, config: QaPoint, name: str, *, items: Any) -> tuple[Any, Any]:
        base = config.base
        tokenizer = load_tokenizer(name, gguf_file=base.gguf_file)
        model = load_qa_model(
            name,
            gguf_file=base.gguf_file,
            bidirectional=base.bidirectional,
            dropout=base.train.dropout if base.train else None,
            needs_head=base.train is None,
        )
        return model, tokenizer

    def load(self, folder: str, *, dropout: float | None = None) -> Any:
        return load_qa_model(folder, dropout=dropout)

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return model_inputs(batch)

    def check_alike(self, teacher: Path, base: Path) -> None:
        """Nothing to compare: QA has no label set."""

    def to_train(self, model: Any, config: QaPoint, *, teacher: Path) -> Any:
        return model
