"""A model outside of raykd is only handed out if it answers as the one inside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raykd.errors import ArtifactError
from raykd.tasks.form import Batch, Form, plain_inputs


@dataclass(frozen=True)
class Check:
    """How near the outputs of two models are: examples compared, and the largest difference of a logit."""

    num_examples: int
    difference: float


class Probe:
    """A model's answers on made-up examples, to hold others against."""

    @torch.no_grad()
    def __init__(self, form: Form, model: Any, batches: Sequence[Batch]) -> None:
        self.form, self.model, self.batches = form, model, batches
        self.expected = [form.answers(model, batch) for batch in batches]

    @torch.no_grad()
    def check(self, run: Callable[[Batch], Sequence[Tensor]], *, tolerance: float, what: str) -> Check:
        """Compare a plain model.

        Args:
            run: what it reads -> its outputs, in the order of `Form.outputs`.
            tolerance: how far outputs may be off, relative to the largest one where that is above 1.
            what: the model, for the error.

        Raises:
            ArtifactError: if outputs are further off, or what is concluded of them differs.
        """
        largest, count = 0.0, 0
        for batch, expected in zip(self.batches, self.expected, strict=True):
            found = self.form.aligned(run(plain_inputs(batch)), batch, self.model)
            for ours, theirs in zip(expected, found, strict=True):
                difference = float((ours - theirs).abs().max())
                if not difference <= tolerance * max(1.0, float(ours.abs().max())):
                    raise ArtifactError(f"{what} gives another output: a logit differs by {difference:.3g}")
                largest = max(largest, difference)
            sides = [self.form.decisions(answers, batch, self.model) for answers in (expected, found)]
            if sides[0] != sides[1]:
                raise ArtifactError(f"{what} gives other predictions, although no logit differs by {largest:.3g}")
            count += len(batch["input_ids"])
        return Check(count, largest)
