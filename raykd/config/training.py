"""The sections that say how a model is trained: batches, optimiser, and labels alone."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from raykd.config.base import Config, Source


class Batching(Config):
    """How examples are put into steps, and the optimiser that takes them."""

    learning_rate: float = Field(5e-5, gt=0)
    """Peak learning rate of AdamW."""
    lr_schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Decay to 0 after the warm-up, or none."""
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of all steps over which the learning rate rises from 0."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay; biases and norms are left out of it."""
    optimizer: Literal["adamw", "adamw_legacy"] = "adamw"
    """AdamW, or that of older transformers, which adds epsilon before the bias of the second moment is corrected: its
    first steps are smaller where gradients are tiny."""
    adam_epsilon: float = Field(1e-8, gt=0)
    """Epsilon of AdamW."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Gradient clipping by global norm; 0 is none."""
    tokens_per_step: int | None = Field(6144, ge=32)
    """Tokens of one optimiser step, padding counted, over all workers. Null with `examples_per_step`."""
    examples_per_step: int | None = Field(None, ge=1)
    """Features of one optimiser step over all workers, in place of a token budget."""
    micro_batch_tokens: int = Field(8192, ge=32)
    """The most tokens, padding counted, in one forward pass of one worker; what is above accumulates gradients."""
    micro_batch_examples: int | None = Field(None, ge=1)
    """The most features in one forward pass of one worker."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout of the student; null keeps the model's own."""
    freeze_embeddings: bool = False
    """Leave the input embeddings as they are."""
    patience: int | None = Field(None, ge=1)
    """End training after so many epochs in a row without a better score on the selection set; null: never. A student
    that goes on through generations ends its lineage with it, any other one its generation."""

    @model_validator(mode="after")
    def _one_batch_size(self) -> Self:
        if (self.tokens_per_step is None) == (self.examples_per_step is None):
            raise ValueError("set one of tokens_per_step and examples_per_step, and the other to null")
        return self

    @model_validator(mode="after")
    def _decay_as_it_was(self) -> Self:
        if self.optimizer == "adamw_legacy" and self.weight_decay:
            raise ValueError(
                f"optimizer adamw_legacy decays weights after the update, which this one does not: got weight_decay "
                f"{self.weight_decay:g}; set it to 0, or optimizer: adamw"
            )
        return self

    def is_out_of_patience(self, scores: Sequence[float]) -> bool:
        """Whether training ends, given the scores after its epochs so far."""
        if self.patience is None or not scores:
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= self.patience

    @property
    def pads_to_max(self) -> bool:
        """Whether every feature is padded to `data.max_length`."""
        return False

    @property
    def part_rates(self) -> dict[str, float]:
        """Peak learning rates of parts of a model that have their own: beginning of a part's name -> rate."""
        return {}


Budget = Literal["budget"]
BUDGET: Budget = "budget"
"""The items that a student reads with their labels."""


class LabelTraining(Batching):
    """Training of a teacher on labels alone."""

    source: Source | Budget
    """Labelled data, or `budget`: the labelled items of the point, which is the honest choice where labels are few."""
    max_items: int | None = Field(None, ge=1)
    """A fixed sample of so many items, or items of each language; null takes all."""
    epochs: int = Field(2, ge=1)
    """Passes over the data."""
    deliver: Literal["best", "last"] | None = None
    """The teacher after its best epoch on the selection set (of equal ones the first), or after the last epoch. Null is
    best where epochs are scored."""
    seed: int = 42
    """Seed of this training. It is not the point's seed: all points share this teacher."""
