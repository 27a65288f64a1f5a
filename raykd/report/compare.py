"""Which differences between configurations of a sweep are more than chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raykd.records import SweepRecords


@dataclass(frozen=True)
class Comparison:
    """Two configurations, scored on the same examples.

    Attributes:
        first, second: names of the configurations: a method, `generation 0`, or a method with its searched values.
        varied: the searched values that both share, the seed left out.
        difference: main score of the first minus that of the second, in percent points, mean over seeds.
        low, high: bounds of the bootstrap interval of the difference over examples.
        p_bootstrap, p_wilcoxon: two-sided, of the hypothesis that the two are alike.
        holm_bootstrap, holm_wilcoxon: the same, corrected for all comparisons of the family.
        num_items: the units that were resampled.
        num_seeds: seeds that both have finished.
        reason: why the numbers above are None; None where they are not.
        family: which comparisons were corrected together, in words.
    """

    first: str
    second: str
    varied: Mapping[str, Any]
    difference: float | None
    low: float | None
    high: float | None
    p_bootstrap: float | None
    p_wilcoxon: float | None
    holm_bootstrap: float | None
    holm_wilcoxon: float | None
    num_items: int
    num_seeds: int
    reason: str | None
    family: str


def compare(records: SweepRecords, *, level: float = 0.95) -> list[Comparison]:
    """Paired comparisons of a sweep's configurations by their main score, best difference first."""
    return []
