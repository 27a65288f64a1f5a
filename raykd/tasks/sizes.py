"""How much there is of something, for checks and estimates before a start."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Keys = Mapping[str, Mapping[str, str]]
"""Name of an item, the same in all its languages -> language -> what it says there."""


def _none() -> Keys:
    return {}


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
        keys: names them.
    """

    all: Any
    count: int
    sha256: str
    texts: TextSizes = TextSizes()
    keys: Callable[[], Keys] = _none


@dataclass(frozen=True)
class Content:
    """What a set of items holds.

    Attributes:
        count: how many examples.
        sha256: hash of all that they say.
        keys: names its items.
    """

    count: int
    sha256: str
    keys: Callable[[], Keys] = _none


def shared(some: Keys, others: Keys) -> list[str]:
    """Names of the items that both hold, whatever the languages.

    Two that say different things in one language are two items which go by one number.
    """
    return [
        name
        for name in some.keys() & others.keys()
        if all(some[name][language] == others[name][language] for language in some[name].keys() & others[name].keys())
    ]
