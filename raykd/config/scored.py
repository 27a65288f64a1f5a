"""Sets of items that models are scored on: the one that everything is chosen by, and those that prove it."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from raykd.config.base import Config, Source
from raykd.config.influence import NO_INFLUENCE

Languages = Annotated[tuple[str, ...], Field(min_length=1)]


class ScoredConfig(Config):
    """A set of items that models are scored on."""

    source: Source
    """The items that are scored."""
    languages: Languages = ("en", "es", "de", "ar", "vi", "hi", "zh")
    """Languages that are scored; those that are not trained on are zero-shot."""
    max_items: int | None = Field(None, ge=1)
    """Score a fixed sample of so many items per cell or language; null: all."""
    batch_tokens: Annotated[int, NO_INFLUENCE] = Field(16384, ge=32)
    """Tokens, with padding, of one forward pass without gradients; also used for teacher signals."""
    seed: int = 0
    """Seed of the samples. Independent of the point's seed: all points are scored on the same items."""

    def part(self, low: float, high: float) -> Self:
        """This section with a part of its items, see `Source.share`; `seed` says in which order."""
        return self.model_copy(update={"source": part_of(self.source, low, high, self.seed)})


def part_of(source: Source, low: float, high: float, seed: int) -> Source:
    return source.model_copy(update={"share": (low, high), "share_seed": seed})


class SelectionConfig(ScoredConfig):
    """The selection set: epochs, generations, points and configurations are chosen by their scores on it."""

    split: float | None = Field(None, gt=0, lt=1)
    """Choose by this share of the items; the rest is the test set `held_out`. `seed` draws them."""
    epoch_max_items: int | None = Field(None, ge=0)
    """Items per cell or language that are scored after every epoch; 0: none, null: as many as at the end."""

    @model_validator(mode="after")
    def _one_share(self) -> Self:
        if self.split is not None and self.source.share:
            raise ValueError("split and source.share exclude each other; remove one")
        return self

    @property
    def chosen_by(self) -> "SelectionConfig":
        """This section as it is read: of a set that is split, the first part."""
        if self.split is None:
            return self
        return self.part(0.0, self.split).model_copy(update={"split": None})


HELD_OUT = "held_out"
"""The test set that `selection.split` makes."""
