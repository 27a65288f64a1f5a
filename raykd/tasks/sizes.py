"""What texts are like, for an estimate of cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TextSizes:
    """What the texts of training data are like; None where nobody has looked.

    Attributes:
        tokens: mean length of a feature.
        words: mean number of words of a sentence that a teacher reads.
        labels: tagging: number of labels.
        distinct: parallel: distinct English sentences a pair.
    """

    tokens: float | None = None
    words: float = 0.0
    labels: int = 0
    distinct: float = 1.0
