"""Statistics of results: intervals over seeds, and tests of paired differences over examples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean and how far it can be trusted.

    Attributes:
        mean: None without a value.
        deviation: the sample one; None below two values.
        low, high: bounds of the confidence interval of the mean; None below two values.
        num: number of values.
    """

    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None
    num: int


def confidence_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean, sample deviation and Student's t interval of the mean, for few values such as seeds.

    Args:
        values: any unit; taken for independent and about normal.
        level: share of intervals that hold the true mean, between 0 and 1.

    Raises:
        ValueError: if the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}; it must be between 0 and 1")
    num = len(values)
    mean = float(np.mean(values)) if num else None
    if num < 2:
        return Interval(mean, None, None, None, num)
    deviation = float(np.std(values, ddof=1))
    reach = float(stats.t.ppf((1 + level) / 2, num - 1)) * deviation / num**0.5
    return Interval(mean, deviation, mean - reach, mean + reach, num)
