"""The base of every section of a sweep file, and the small value types that several sections share."""

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Config(BaseModel):
    """A section: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Schedule(Config):
    """A weight that moves with progress in [0, 1] through each generation, or through the whole lineage."""

    start: float = Field(ge=0)
    """Value at progress 0."""
    end: float = Field(ge=0)
    """Value from progress `until` on."""
    shape: Literal["linear", "cosine"] = "linear"
    """How it gets there."""
    until: float = Field(1.0, gt=0, le=1)
    """Progress at which `end` is reached."""
    num_stairs: int | None = Field(None, ge=1)
    """Move so many times at equal distances, once an epoch, say, and stay in between; null moves all the time."""
    over: Literal["generation", "lineage"] | None = None
    """What progress is of; null is the lineage, and in tagging each generation, as structure-level distillation has it:
    there the weight falls while one student is trained."""

    def at(self, progress: float) -> float:
        """The value at a progress in [0, 1]."""
        if self.num_stairs:
            progress = min(math.floor(progress * self.num_stairs + 1e-9), self.num_stairs - 1) / self.num_stairs
        share = min(progress / self.until, 1.0)
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.start + (self.end - self.start) * share


Weight = Annotated[float, Field(ge=0)] | Schedule
"""A constant, or a schedule over progress."""


def weight_at(weight: Weight, *, lineage: float, generation: float) -> float:
    """The value of a weight at a progress of the lineage and of its generation, both in [0, 1]."""
    if not isinstance(weight, Schedule):
        return weight
    return weight.at(generation if weight.over == "generation" else lineage)


def never_positive(weight: Weight) -> bool:
    """Whether the weight is 0 for the whole lineage."""
    return weight.start == weight.end == 0 if isinstance(weight, Schedule) else weight == 0


Share = Annotated[float, Field(ge=0, le=1)]


class Source(Config):
    """Where a data set is: a path (tried first), a Hub id, or both.

    `{language}` in `path`, `hub_config` and `hub_files` stands for a language code; a set with one file per cell uses
    `{question}` and `{context}` instead.
    """

    path: str | None = None
    """A file, absolute, or relative to the sweep file, the current folder or a folder of RAYKD_DATA; or an address
    (`https://...`, `s3://...`), downloaded once. `archive.zip!member` is a member of a zip archive."""
    hub: str | None = None
    """A data set on the Hugging Face Hub, like `google/xquad`."""
    hub_config: str | None = None
    """The configuration of the Hub set, like `xquad.{language}`."""
    hub_revision: str | None = None
    """The branch, tag or commit of the Hub set, like `refs/convert/parquet`; null is the main branch. The commit that
    it stands for is recorded with the results."""
    hub_files: str | None = None
    """Files of the Hub set, in place of hub_config and split, like `{language}/validation/*.parquet`: parquet, JSON,
    JSON lines, CSV, TSV, or a file as the task reads it from a path."""
    hub_codes: dict[str, str] | None = None
    """What stands for a language in hub_config and hub_files where that is not what stands in `path`."""
    split: str | None = None
    """The split of the Hub set."""
    builtin: Literal["small-world"] | None = None
    """The data that raykd generates itself."""
    num_items: int | None = Field(None, ge=1)
    """How many items the built-in data has."""
    share: tuple[Share, Share] | None = None
    """Only the items in this part of a random order, like [0, 0.5] and [0.5, 1] for two halves. Parallel items lie in
    the same part in every language."""
    share_seed: int = 0
    """Seed of that order."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.builtin and (self.path or self.hub):
            raise ValueError("builtin excludes path and hub")
        if not (self.builtin or self.path or self.hub):
            raise ValueError("give a path, a hub id or builtin")
        if self.hub and not (self.split or self.hub_files):
            raise ValueError(f"hub {self.hub} needs a split, or hub_files")
        if self.hub_files and (self.hub_config or self.split):
            raise ValueError("hub_files excludes hub_config and split; put them into its pattern")
        if (self.hub_revision or self.hub_files or self.hub_codes) and not self.hub:
            raise ValueError("hub_revision, hub_files and hub_codes need hub")
        if self.builtin and not self.num_items:
            raise ValueError("builtin needs num_items")
        if self.num_items and not self.builtin:
            raise ValueError("num_items needs builtin; use max_items or budget to limit other data")
        if self.share and self.share[0] >= self.share[1]:
            raise ValueError(f"share is {list(self.share)}; the first bound must be below the second")
        return self

    @property
    def builtin_items(self) -> int:
        """How many items the built-in data has; asked where it is built in."""
        assert self.num_items is not None
        return self.num_items
