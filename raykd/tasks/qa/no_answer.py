"""Questions without an answer: when none is given, and by which threshold. Needs no torch.

A question's margin is the score of no answer (start plus end logit of the first token, the lowest of all windows) less
that of the best span. None is given where the margin is above a threshold.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise

from raykd.tasks.qa.scoring import QuestionScore

THRESHOLD = "null_threshold"
"""What the threshold is called: in a section of a sweep file, and among what a set has chosen."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A question's margin, inf where there is no span, and what it scores with its best span."""

    margin: float
    answered: QuestionScore

    @property
    def withheld(self) -> QuestionScore:
        """What it scores with no answer."""
        value = 0.0 if self.answered.has_answer else 100.0
        return QuestionScore(value, value, self.answered.has_answer)

    def at(self, threshold: float) -> QuestionScore:
        """Its score under a threshold."""
        return self.withheld if self.margin > threshold else self.answered


def best_threshold(cells: Iterable[Collection[Choice]]) -> float:
    """The threshold with the highest F1, as the SQuAD 2.0 evaluation looks for it; of equal ones the lowest.

    It lies halfway between two margins, so that rounding does not change who is answered.

    Args:
        cells: of the matrix, none of them empty; F1 is the mean over questions, then over cells.
    """
    cells = list(cells)
    gains = sorted(
        (each.margin, (each.answered.f1 - each.withheld.f1) / len(cell))
        for cell in cells
        for each in cell
        if math.isfinite(each.margin)
    )
    if not gains:
        return 0.0
    margins = [margin for margin, _ in groupby(gains, key=lambda pair: pair[0])]
    between = [margins[0] - 1, *((low + high) / 2 for low, high in pairwise(margins))]
    between.append(margins[-1] + 1)
    total = best = 0.0
    threshold = between[0]
    for past, (_, tied) in zip(between[1:], groupby(gains, key=lambda pair: pair[0]), strict=True):
        total += math.fsum(gain for _, gain in tied)
        # Sums of rounded quotients: what is not better by more than rounding is equal.
        if total > best + 1e-9:
            best, threshold = total, past
    return threshold


def settled(choices: Mapping[str, Choice], threshold: float) -> dict[str, QuestionScore]:
    """The scores of questions, by their ids, under a threshold."""
    return {name: each.at(threshold) for name, each in choices.items()}
