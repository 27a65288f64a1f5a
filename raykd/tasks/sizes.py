"""How much there is of something, for checks and estimates before a start."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TextSizes:
    """What the texts of training data are like; None where nobody has looked.

    Attributes:
        tokens: mean length of a feature.
        words: mean number of words of a sentence that a teacher reads.
        labels: number of labels that a word can have.
        distinct: distinct texts that a teacher reads, for each of the texts that are paired with them.
    """

    tokens: float | None = None
    words: float = 0.0
    labels: int = 0
    distinct: float = 1.0


@dataclass(frozen=True)
class Items:
    """What budgets are drawn from.

    Attributes:
        all: the items, as the task that read them knows them.
        count: how many there are, of each language where budgets are of each language.
        sha256: hash of all that they say.
        texts: what they are like.
    """

    all: Any
    count: int
    sha256: str
    texts: TextSizes = TextSizes()
