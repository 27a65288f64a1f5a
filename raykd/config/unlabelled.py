"""Items without labels: the KD term alone sees them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from raykd.config.base import Config, Source
from raykd.config.influence import Influence
from raykd.config.scored import Languages

Rest = Literal["rest"]
REST: Rest = "rest"
"""The items of the training data outside of the budget."""


class UnlabelledConfig(Config):
    """Items that students learn from by their teachers alone."""

    source: Source | Rest = REST
    """Where they are, or `rest`: the items of `data.train` outside of the budget. Labels that they have are never
    read."""
    languages: Languages | None = None
    """Their languages; null: those of `data.languages`. Others are trained on without labels, so they are not
    zero-shot; of `rest` these are all items in that language, in QA those outside of the budget."""
    max_items: int | None = Field(None, ge=1)
    """A fixed sample of so many items, of each language where budgets are of each language; null takes all."""
    targets: Literal["soft", "pseudo"] = "soft"
    """What students learn of them: all that the KD term compares, or the teacher's best answer alone (pseudo-labels).
    Items with labels always have the former."""
    min_confidence: Annotated[float, Influence(when=lambda point: point.unlabelled.targets == "pseudo")] = Field(
        0.9, ge=0, le=1
    )
    """pseudo: the teacher's probability of its best answer (of the whole sentence's labels) below which an item is left
    out."""

    @model_validator(mode="after")
    def _languages_differ(self) -> Self:
        if self.languages and len(set(self.languages)) != len(self.languages):
            raise ValueError("a language is listed twice")
        return self


def _has(point: Any) -> bool:
    return point.unlabelled is not None


class UnlabelledKeys(Config):
    """The keys of `data` that a task with unlabelled items has."""

    unlabelled: Annotated[UnlabelledConfig | None, Influence(when=_has)] = None
    """Items without labels to distil on, beside those of the budget; null is none."""
    unlabelled_per_labelled: Annotated[float | None, Influence(when=_has)] = Field(3.0, gt=0)
    """Unlabelled examples for each labelled one, in every step. An epoch reads every labelled example once. Null reads
    every unlabelled one once an epoch too."""


def num_unlabelled(labelled: int, there: int, per_labelled: float | None) -> int:
    """How many unlabelled examples an epoch reads.

    Args:
        labelled: examples with labels, `there` those without.
        per_labelled: of the latter for each of the former; None takes all.
    """
    # At least one where there is any: an epoch without unlabelled examples would be one of a point that has none.
    return there if per_labelled is None else min(there, max(1, round(labelled * per_labelled)))
