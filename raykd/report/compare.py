"""Which differences between configurations of a sweep are more than chance."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from raykd.report.examples import Examples, read_examples
from raykd.report.leaderboard import GENERATION_ZERO
from raykd.report.numbers import value
from raykd.report.statistics import NUM_RESAMPLES, holm, paired_tests
from raykd.results.configurations import Configuration, by_configuration, ranked
from raykd.results.records import PointRecord, SweepRecords
from raykd.tasks.outcomes import Outcomes

MAX_COMPARISONS = 200
"""Above it, only those with the best configuration and with generation 0 are made."""


@dataclass(frozen=True)
class Comparison:
    """Two configurations, scored on the same examples.

    Attributes:
        first, second: names of the configurations: a method with the searched values that the other one does not share,
            or generation 0.
        varied: the searched values that both share, the seed left out; beside generation 0, all of the first one's.
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
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_bootstrap: float | None = None
    p_wilcoxon: float | None = None
    holm_bootstrap: float | None = None
    holm_wilcoxon: float | None = None
    num_items: int = 0
    num_seeds: int = 0
    reason: str | None = None
    family: str = ""


def side_name(method: str, varied: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    """What a comparison calls a configuration: its method, with the searched values that are not shared."""
    own = sorted(key for key in varied if key not in shared)
    return " ".join([method, *(f"{key.rpartition('.')[2]}={value(varied[key])}" for key in own)])


@dataclass(frozen=True)
class _Side:
    """A configuration with its finished points by seed."""

    method: str
    varied: Mapping[str, Any]
    points: Mapping[Any, PointRecord]
    is_best: bool = False

    @classmethod
    def of(cls, configuration: Configuration, *, is_best: bool = False) -> "_Side":
        """That of a configuration."""
        points = {point.description.varied.get("seed"): point for point in configuration.finished}
        return cls(configuration.method, configuration.varied, points, is_best)

    def score(self, seeds: Sequence[Any]) -> float:
        """The mean main score over seeds, all of which have one."""
        return fmean(value for seed in seeds if (value := self.points[seed].main_score) is not None)

    def agrees(self, other: "_Side") -> bool:
        """Whether all searched values that have an influence on both are the same."""
        return all(self.varied[key] == other.varied[key] for key in self.varied.keys() & other.varied.keys())

    def named(self, shared: Mapping[str, Any]) -> str:
        """The method with what is not shared."""
        return side_name(self.method, self.varied, shared)


@dataclass(frozen=True)
class _Draft:
    """A comparison without its numbers, and the models of both sides; none where there is a reason."""

    comparison: Comparison
    first: tuple[Examples, ...] = ()
    second: tuple[Examples, ...] = ()


class _NotComparable(ValueError):
    """Why two configurations cannot be compared."""


def compare(
    records: SweepRecords,
    *,
    chosen_by: SweepRecords | None = None,
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[Comparison]:
    """Paired comparisons of a sweep's configurations by their main score, the better one of two first.

    Of several methods each pair that agrees in all searched values that both have; of one method each configuration
    with the best one; and each configuration with generation 0. All of them are one family. Where there would be more
    than `MAX_COMPARISONS`, each is compared with the best one and with generation 0 alone, which `family` says. The
    best one was chosen by the same examples, so its lead is a little overstated.

    A configuration counts with the seeds that both sides have finished, its scores averaged. What cannot be compared
    comes last, with a reason and without numbers.

    Args:
        chosen_by: the sweep by its selection set, which says what the best one is, where `records` are those of a test
            set; what was chosen by others is not overstated.
        level: of the intervals.
        num_resamples, seed: see `paired_tests`.
    """
    configurations = _sides(records)
    chosen = _sides(chosen_by or records)
    place = {id(side): number for number, side in enumerate(chosen)}
    found, family = _pairs(chosen)
    pairs = [(configurations[place[id(one)]], configurations[place[id(other)]]) for one, other in found]
    reader = _Reader(records)
    drafts = [_draft(first, second, reader) for first, second in pairs]
    drafts += [_beside_generation_zero(each, reader) for each in configurations]
    made = _tested([draft for draft in drafts if not draft.comparison.reason], level, num_resamples, seed)
    left_out = [draft.comparison for draft in drafts if draft.comparison.reason]
    return [replace(each, family=f"{len(made)} comparisons: {family}") for each in [*made, *left_out]]


def compare_languages(
    records: SweepRecords,
    first: Configuration,
    rivals: Sequence[Configuration],
    *,
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[tuple[str, Comparison]]:
    """One configuration against others and generation 0 in each language: (language, comparison), one family.

    Of a matrix a language holds the cells whose context is in it. What cannot be compared is left out.

    Args:
        level, num_resamples, seed: as `compare` has them.
    """
    reader, side = _Reader(records), _Side.of(first)
    drafts = [_draft(side, _Side.of(rival), reader, in_order=True) for rival in rivals]
    drafts = [*drafts, _beside_generation_zero(side, reader)]
    found: list[tuple[str, Comparison]] = []
    for draft in drafts:
        if draft.comparison.reason is not None:
            continue
        models = [*draft.first, *draft.second]
        pair = [(list(range(len(draft.first))), list(range(len(draft.first), len(models))))]
        for language, cells in _by_language(models[0].cells).items():
            parts = [model.of_cells(cells) for model in models]
            (tested,) = paired_tests(parts, pair, level=level, num_resamples=num_resamples, seed=seed)
            found.append((language, replace(draft.comparison, **vars(tested))))
    corrected = holm([each.p_bootstrap or 0.0 for _, each in found])
    return [
        (language, replace(each, holm_bootstrap=p_value))
        for (language, each), p_value in zip(found, corrected, strict=True)
    ]


def _by_language(cells: Sequence[str]) -> dict[str, list[str]]:
    """Language -> its cells: the last part of a cell's name is the context's language, or the only one."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        found.setdefault(cell.rpartition("-")[2], []).append(cell)
    return found


def _sides(records: SweepRecords) -> list[_Side]:
    """In the order of the sweep file, where it names its points."""
    order = {point_id: place for place, point_id in enumerate(records.description.points)}
    points = sorted(records.points, key=lambda point: order.get(point.id, 0))
    configurations = by_configuration(points)
    best = next(iter(ranked(configurations, records.main)), None)
    return [_Side.of(each, is_best=each is best) for each in configurations]


def _pairs(configurations: Sequence[_Side]) -> tuple[list[tuple[_Side, _Side]], str]:
    """What is compared beside generation 0, and which comparisons these are in words."""
    pairs = [
        (one, other)
        for one, other in itertools.combinations(configurations, 2)
        if one.method != other.method and one.agrees(other)
    ]
    num_all = len(pairs) + len(configurations)
    if pairs and num_all <= MAX_COMPARISONS:
        return pairs, "each pair of methods with the same searched values, and each configuration with generation 0"
    words = "each configuration with the best one, and with generation 0"
    if pairs:
        words += f" (with each pair of methods there would be {num_all})"
    best = next((each for each in configurations if each.is_best and each.points), None)
    return [(best, each) for each in configurations if each is not best] if best else [], words


class _Reader:
    """Examples of points and of generation 0, each read once."""

    def __init__(self, records: SweepRecords) -> None:
        self.bases = records.bases
        self.known: dict[int, Examples] = {}

    def of_point(self, point: PointRecord) -> Examples:
        """The examples behind a point's main score."""
        return self._read(point.outcomes, _main(point), f"point {point.id}")

    def of_base(self, point: PointRecord) -> Examples:
        """The same of its generation 0, which may have been scored on others too."""
        wanted, main, base = self.of_point(point), _main(point), point.description.base
        recorded = [each.outcomes for each in self.bases if each.base == base and each.outcomes is not None]
        found = [self._read(outcomes, main, GENERATION_ZERO) for outcomes in recorded]
        matching = [examples for examples in found if examples.matches(wanted)]
        if not matching:
            what = "was scored on other examples" if found else "was recorded without outcomes of single examples"
            raise _NotComparable(f"{GENERATION_ZERO} {what}")
        return matching[0]

    def _read(self, outcomes: Outcomes | None, score: str, whose: str) -> Examples:
        if outcomes is None:
            raise _NotComparable(f"{whose} was recorded without outcomes of single examples")
        if id(outcomes) not in self.known:
            self.known[id(outcomes)] = read_examples(outcomes, score)
        return self.known[id(outcomes)]


def _main(point: PointRecord) -> str:
    assert point.scores is not None, f"{point.id} is not finished"
    return point.scores.main


def _draft(one: _Side, other: _Side, reader: _Reader, *, in_order: bool = False) -> _Draft:
    shared = {key: value for key, value in one.varied.items() if key in other.varied and other.varied[key] == value}
    seeds = [seed for seed in one.points if seed in other.points]
    if seeds and not in_order and other.score(seeds) > one.score(seeds):
        one, other = other, one
    comparison = Comparison(one.named(shared), other.named(shared), shared, num_seeds=len(seeds))
    try:
        if not seeds:
            raise _NotComparable("there is no seed that both have finished")
        sides = tuple(tuple(reader.of_point(each.points[seed]) for seed in seeds) for each in (one, other))
        if any(not examples.matches(sides[0][0]) for side in sides for examples in side):
            raise _NotComparable("they were scored on different examples")
    except _NotComparable as error:
        return _Draft(replace(comparison, reason=str(error)))
    return _Draft(comparison, *sides)


def _beside_generation_zero(one: _Side, reader: _Reader) -> _Draft:
    points = list(one.points.values())
    comparison = Comparison(one.method, GENERATION_ZERO, one.varied, num_seeds=len(points))
    try:
        if not points:
            raise _NotComparable("no seed of it is finished")
        sides = tuple(tuple(read(point) for point in points) for read in (reader.of_point, reader.of_base))
        if any(not examples.matches(sides[0][0]) for examples in sides[0]):
            raise _NotComparable("its seeds were scored on different examples")
    except _NotComparable as error:
        return _Draft(replace(comparison, reason=str(error)))
    return _Draft(comparison, *sides)


def _tested(drafts: Sequence[_Draft], level: float, num_resamples: int, seed: int) -> list[Comparison]:
    """The comparisons with their numbers, those scored on the same examples at once."""
    groups: list[list[_Draft]] = []
    for draft in drafts:
        same = next((group for group in groups if group[0].first[0].matches(draft.first[0])), None)
        if same is None:
            groups.append([draft])
        else:
            same.append(draft)
    found: list[Comparison] = []
    for group in groups:
        models = list(dict.fromkeys(each for draft in group for each in (*draft.first, *draft.second)))
        place = {model: number for number, model in enumerate(models)}
        pairs = [([place[each] for each in draft.first], [place[each] for each in draft.second]) for draft in group]
        tested = paired_tests(models, pairs, level=level, num_resamples=num_resamples, seed=seed)
        found += [replace(draft.comparison, **vars(each)) for draft, each in zip(group, tested, strict=True)]
    corrected = [holm([getattr(each, name) for each in found]) for name in ("p_bootstrap", "p_wilcoxon")]
    return [
        replace(each, holm_bootstrap=bootstrap, holm_wilcoxon=wilcoxon)
        for each, bootstrap, wilcoxon in zip(found, *corrected, strict=True)
    ]
