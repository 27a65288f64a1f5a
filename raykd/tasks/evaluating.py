"""Scoring a model folder without a sweep: what tasks have in common."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from raykd.data.batching import batches_for_inference
from raykd.errors import DataError
from raykd.tasks.task import Features, TaskModel

Precision = Literal["float32", "bf16"]


@dataclass(frozen=True)
class Forwarder:
    """A model that reads windows.

    Attributes:
        models: of its task.
        precision: of the forward pass; bf16 is autocast over float32 weights, as in a sweep.
        tokens: of one forward pass, padding counted.
    """

    model: Any
    models: TaskModel
    precision: Precision
    tokens: int

    @classmethod
    def of(cls, model: Any, models: TaskModel, precision: Precision, tokens: int) -> "Forwarder":
        """With the model on the device that there is."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return cls(model.eval().to(device), models, precision, tokens)

    @torch.no_grad()
    def __call__(self, features: Features) -> Iterator[tuple[np.ndarray, dict[str, Tensor], Any]]:
        """Windows in batches: their indices, what they are, and what the model says of them."""
        device = next(self.model.parameters()).device
        for micro in batches_for_inference(features.lengths, tokens=self.tokens, rank=0, world_size=1):
            batch = {name: part.to(device) for name, part in features.collate(micro.indices).items()}
            with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                outputs = self.model(**self.models.inputs(batch))
            yield micro.indices, batch, outputs


def refuse_foreign(options: Mapping[str, Any], title: str) -> None:
    """Refuse what this task's models cannot be asked for.

    Args:
        options: those that were given and that the task has no use for.
        title: of the task.
    """
    if options:
        flags = {"n_best": "predictions"}
        named = ", ".join(f"--{flags.get(name, name).replace('_', '-')}" for name in options)
        raise DataError(f"{named}: not an option for models of {title}; remove it")
