"""A sweep, analysed: configurations and contenders, what tables and figures are drawn from."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

from raykd.plan.points import DEFAULT_METHOD
from raykd.report.leaderboard import GENERATION_ZERO
from raykd.report.numbers import value
from raykd.report.statistics import Interval, confidence_interval
from raykd.results.configurations import BUDGET, Configuration, by_configuration, mean_of, ranked
from raykd.results.records import SweepRecords
from raykd.results.sweep import BaseScores

MOST_CONTENDERS = 8


@dataclass(frozen=True)
class Contender:
    """What competes in figures: a method with one setting of all that is searched beside the budget.

    Attributes:
        style: which colour, marker and dash it has in every figure.
        configurations: one for each budget, smallest first.
    """

    name: str
    style: int
    configurations: tuple[Configuration, ...]

    def best(self, score: str) -> Configuration:
        """The budget at which it does best."""
        return max(self.configurations, key=lambda each: rank(each.mean(score)))


@dataclass(frozen=True)
class Analysis:
    """A sweep as its report sees it.

    Attributes:
        main: the score that decides; empty while nothing was scored.
        columns: score -> its heading.
        metric: the score of a cell, like `f1`.
        is_matrix: cells are pairs of question and context language, else languages.
        configurations: best mean of the main score first, those without a result last.
    """

    records: SweepRecords
    main: str
    columns: Mapping[str, str]
    metric: str
    is_matrix: bool
    configurations: tuple[Configuration, ...]

    @property
    def task(self) -> str:
        """The task of the sweep; empty where nobody recorded it."""
        of_points = (point.settings.task for point in self.records.points)
        return self.records.description.settings.task or next(of_points, "")

    @property
    def base(self) -> BaseScores | None:
        """Generation 0 where all points share one."""
        return self.records.bases[0] if len(self.records.bases) == 1 else None

    def before(self, configuration: Configuration, scores: Mapping[str, float | None]) -> float | None:
        """What generation 0 has in place of a configuration's mean: the mean over its points, each of which may have a
        generation 0 of its own; None where it was not scored.

        Args:
            scores: generation 0 by name -> a score.
        """
        return mean_of(scores.get(point.description.base) for point in configuration.finished)

    @property
    def finished(self) -> list[Configuration]:
        """Configurations with a mean of the main score, best first."""
        return [each for each in self.configurations if each.values(self.main)]

    def interval(self, configuration: Configuration) -> Interval:
        """The main score over seeds; its interval ends where the percents do."""
        found = confidence_interval(configuration.values(self.main))
        if found.low is None or found.high is None:
            return found
        return replace(found, low=max(found.low, 0.0), high=min(found.high, 100.0))

    @property
    def budgets(self) -> list[Any]:
        """All searched budgets, smallest first, `all` last."""
        found = {each.budget for each in self.configurations if each.budget is not None}
        return sorted(found, key=lambda budget: (isinstance(budget, str), budget))

    @property
    def at_best(self) -> str:
        """How a contender is shown where one budget has to stand for it."""
        return ", each contender at its best budget" if self.budgets else ""

    @property
    def has_hand_offs(self) -> bool:
        """Whether students become teachers."""
        return any(point.settings.num_generations > 1 for point in self.records.points)

    @property
    def heading(self) -> str:
        """What the main score is called."""
        return self.columns.get(self.main, "score")

    @cached_property
    def overall(self) -> list[str]:
        """Scores over several languages, the main one first: those that curves are drawn of."""
        scored = [point.scores for point in self.records.points if point.scores is not None]
        by_language = {f"{self.metric}_{cell}" for each in self.finished for cell in each.cells()}
        by_language |= {f"{name}_{each}" for scores in scored for name in scores.probes for each in scores.probes[name]}
        watched = {name for scores in scored for name in scores.watched}
        names = [
            name for name in self.columns if name not in by_language | watched and not name.endswith("exact_match")
        ]
        return sorted(names, key=lambda name: name != self.main)

    @cached_property
    def contenders(self) -> tuple[Contender, ...]:
        """One for each method, at the setting that does best over all budgets; where there is one method, its settings.

        The order is that of the file, so that a method looks the same in the reports of all sweeps that share it.
        """
        settings: dict[tuple[str, str], list[Configuration]] = {}
        for each in self.finished:
            rest = {key: value for key, value in each.varied.items() if key != BUDGET}
            settings.setdefault((each.method, json.dumps(rest, sort_keys=True)), []).append(each)
        methods = dict.fromkeys(self.records.description.settings.methods)
        methods |= dict.fromkeys(point.method for point in self.records.points)
        known = {method for method, _ in settings}
        chosen = list(settings.values()) if len(known) == 1 else _best_of_each(settings, self.main)
        ranked = sorted(chosen, key=lambda group: max(rank(each.mean(self.main)) for each in group), reverse=True)
        kept = ranked[:MOST_CONTENDERS]
        if len(known) > 1:
            kept.sort(key=lambda group: list(methods).index(group[0].method))
        return tuple(
            Contender(_contender_name(group[0], alone=len(known) == 1), style, tuple(sorted(group, key=_by_budget)))
            for style, group in enumerate(kept)
        )


def analyse(records: SweepRecords) -> Analysis:
    """The points of a sweep by configuration."""
    scored, main = records.scored, records.main or ""
    found = ranked(by_configuration(records.points), main)
    metric, is_matrix = (scored[0].metric, scored[0].is_matrix) if scored else ("f1", False)
    return Analysis(records, main, records.columns, metric, is_matrix, tuple(found))


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Dotted key -> its last part, or all of it where two keys share that."""
    keys = list(keys)
    last = [key.rpartition(".")[2] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


def base_name(analysis: Analysis, base: BaseScores) -> str:
    """What a generation 0 is called."""
    return GENERATION_ZERO if analysis.base else f"{GENERATION_ZERO} of {base.model}"


def spoken(configuration: Configuration) -> str:
    """What a configuration is called in a sentence."""
    return _name(configuration.method, configuration.varied, " at ")


def _best_of_each(settings: Mapping[tuple[str, str], list[Configuration]], main: str) -> list[list[Configuration]]:
    """The setting of each method that has most budgets and, among those, the highest mean over them."""

    def rank(group: Sequence[Configuration]) -> tuple[int, float]:
        return len(group), fmean(mean for each in group if (mean := each.mean(main)) is not None)

    best: dict[str, list[Configuration]] = {}
    for (method, _), group in settings.items():
        if method not in best or rank(group) > rank(best[method]):
            best[method] = group
    return list(best.values())


def _name(method: str, varied: Mapping[str, Any], joint: str) -> str:
    """The method, where the file has any, and its searched values."""
    names = short_names(sorted(varied))
    setting = ", ".join(f"{name} {value(varied[key])}" for key, name in names.items())
    return joint.join(part for part in (method if method != DEFAULT_METHOD or not setting else "", setting) if part)


def _contender_name(configuration: Configuration, *, alone: bool) -> str:
    """Its name without the budget, and with the method only where that tells."""
    rest = {key: found for key, found in configuration.varied.items() if key != BUDGET}
    return _name(DEFAULT_METHOD if alone and rest else configuration.method, rest, ", ")


def _by_budget(configuration: Configuration) -> tuple[bool, Any]:
    return isinstance(configuration.budget, str), configuration.budget or 0


def rank(mean: float | None) -> float:
    """A mean to sort by: what has none comes last."""
    return float("-inf") if mean is None else mean
