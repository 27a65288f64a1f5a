"""Question-answering models in and out."""

from pathlib import Path
from typing import Any

from raykd.errors import DataError
from raykd.models.qa import load_qa_model, load_tokenizer, renew_head, tiny_qa_model
from raykd.tasks.plain import PlainModel
from raykd.tasks.qa.config import QaPoint


class QaTeachers:
    """Models that answer questions, see `raykd.tasks.task.GivenTeachers`."""

    def tiny(self, config: QaPoint, tokenizer: Any) -> Any:
        raise DataError("teachers: builtin:tiny answers nothing; name a model that was trained")

    def given(self, config: QaPoint, name: str) -> Any:
        return load_qa_model(name, needs_head=True)


class QaModel(PlainModel):
    """See `raykd.tasks.task.TaskModel`."""

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

    def student(self, config: QaPoint, name: str, *, base: Path) -> Any:
        return self.load(name)

    def renew_head(self, model: Any) -> None:
        renew_head(model)

    def load(self, folder: str, *, dropout: float | None = None) -> Any:
        return load_qa_model(folder, dropout=dropout)
