"""What most tasks have in common: a part that is as usual is inherited from here, and says so by its absence."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.errors import DataError
from raykd.tasks.form import Batch, plain_inputs
from raykd.tasks.outcomes import Scored, Scores
from raykd.tasks.task import FrozenPart
from raykd.tasks.teaching import Micro, Teacher, Teaching


class PlainModel:
    """The usual parts of `TaskModel`: a student trains as it is, and has no labels to compare."""

    def build_tiny_tokenizer(self, folder: Path) -> None:
        """That of the built-in world."""
        build_tokenizer(folder)

    def note(self, model: Any) -> str:
        """Nothing."""
        return ""

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tokens, their types where there are any, and which are padding."""
        return plain_inputs(batch)

    def student(self, config: Any, name: str, *, base: Path) -> Any:
        """A student starts from generation 0."""
        raise DataError(f"student.model {name}: a student of task {config.task} starts from base.model; remove the key")

    def renew_head(self, model: Any) -> None:
        """There is no head that could be initialised again."""
        raise DataError("student.new_head: this task has no head that can be initialised again; remove the key")

    def check_alike(self, teacher: Path, base: Path) -> None:
        """There is nothing to compare."""

    def to_train(self, model: Any, config: Any, *, teacher: Path) -> Any:
        """The student itself."""
        return model


class PlainLearning:
    """The usual parts of `TaskLearning`: the same windows in every epoch, for student and teacher; one teacher."""

    outputs: tuple[str, ...]
    parts: tuple[str, ...] = ()
    cuts_for_both = False
    frozen: FrozenPart | None = None
    stored_dtype = torch.float32

    def chosen(self, train: Any, epoch: int) -> np.ndarray | None:
        """All windows."""
        return None

    def of_epoch(self, train: Any, steps: Sequence[np.ndarray], *, seed: int, epoch: int) -> Any:
        """The windows as they are."""
        return train.features

    def num_labelled(self, train: Any) -> int:
        """All of them."""
        return len(train.features)

    def teacher_features(self, train: Any, tokenizer: Any, *, first: bool) -> Any:
        """The student's windows."""
        return train.features

    def probe(self, train: Any) -> Any:
        """The student's windows."""
        return train.features

    def taught_by(self, features: Any, language: str | None, *, named: Collection[str | None]) -> np.ndarray:
        """All windows, whatever the teacher was trained on."""
        return np.arange(len(features))

    def forward(self, model: Any, batch: dict[str, Tensor], said: Any) -> Any:
        """Of what is in the batch; what the teacher said does not enter."""
        return model(**plain_inputs(batch))

    def teacher(self, train: Any, teaching: Teaching) -> Teacher:
        """Whoever reads one row for each window, of the first output."""
        return RowTeacher.of(teaching, self.outputs[0])

    def signals(self, outputs: Any) -> dict[str, Tensor]:
        """One row for each window: [B, 1, ...]."""
        return {name: getattr(outputs, name).float().unsqueeze(1) for name in self.outputs}

    def constants(self, outputs: Any) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def predict(self, outputs: Any, batch: dict[str, Tensor], indices: np.ndarray, section: Any) -> list[Any]:
        """Every window with the place of the largest entry in its row of the first output."""
        return list(zip(indices.tolist(), getattr(outputs, self.outputs[0]).argmax(dim=-1).tolist(), strict=True))

    def settled(self, section: Any, chosen: Scores) -> Any:
        """Nothing is chosen for it."""
        return section

    def combine(self, scored: Mapping[str | None, Scored], chosen: Scores | None = None) -> Scored:
        """Generation 0 is one model."""
        return scored[None]


class RowTeacher:
    """A teacher that reads one stored row for each window: of a classifier its logits, say."""

    def __init__(self, rows: Tensor, *, device: torch.device) -> None:
        """
        Args:
            rows: [N, ...], in the order of the windows.
        """
        self.rows, self.device = rows, device

    @classmethod
    def of(cls, teaching: Teaching, name: str) -> Teacher:
        """The mean of what teachers said under a name, in float32."""
        said = torch.stack([reading.arrays[name].float() for reading in teaching.readings]).mean(dim=0)
        return cls(said, device=teaching.device)

    def for_step(self, step: np.ndarray, micros: Sequence[Micro]) -> list[Tensor]:
        """Rows of each micro-batch."""
        return [self.rows[torch.from_numpy(micro.indices)].to(self.device) for micro in micros]

    def mean_coefficient(self) -> None:
        """There is none."""

    def watched(self) -> Mapping[str, float]:
        """Nothing."""
        return {}

    def coefficients(self, steps: Sequence[np.ndarray]) -> list[list[float]]:
        """There are none."""
        return []


class PlainForm:
    """The usual parts of `Form`: the model is one of transformers already, and answers by name."""

    outputs: tuple[str, ...]
    auto_class: Any
    own_files: tuple[str, ...] = ()

    def plain(self, model: Any) -> Any:
        """The model itself."""
        return model

    def load_options(self, kind: type[Any]) -> dict[str, Any]:
        """None."""
        return {}

    def answers(self, model: Any, batch: Batch) -> list[Tensor]:
        """The outputs by their names."""
        found = model(**plain_inputs(batch))
        return [getattr(found, name) for name in self.outputs]

    def aligned(self, outputs: Sequence[Tensor], batch: Batch, model: Any) -> list[Tensor]:
        """Outputs as they are."""
        return list(outputs)

    def decisions(self, answers: Sequence[Tensor], batch: Batch, model: Any) -> list[Any]:
        """The largest of the last dimension of each."""
        return [answer.argmax(dim=-1).tolist() for answer in answers]

    def usage(self, config: Any, model: Any, *, name: str, words_bring_spaces: bool, options: Mapping[str, Any]) -> str:
        """How it is loaded."""
        kind = self.auto_class.__name__
        lines = f"from transformers import AutoTokenizer, {kind}", "", f'name = "{name}"  # this folder'
        loaded = f"tokenizer, model = AutoTokenizer.from_pretrained(name), {kind}.from_pretrained(name).eval()"
        return "\n".join([*lines, loaded])
