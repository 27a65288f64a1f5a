"""Points that a searcher chooses while the sweep runs, and the scheduler that stops them early."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler

from raykd.config.point import PointBase
from raykd.plan.points import DEFAULT_METHOD, Point, suggested_points
from raykd.plan.sweep import Choice, IntRange, LogUniform, SweepConfig, Uniform
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.points import PointDescription
from raykd.tasks import point_from_record

if TYPE_CHECKING:
    from ray.tune.search.optuna import OptunaSearch

METRIC = "mean_score"
"""What a trial tells of its points: the mean over their seeds."""
EPOCHS = "epochs_of_seeds"
"""How many epochs it did, over all seeds."""
METHOD = "method"

History = Sequence[tuple[dict[str, Any], float]]
"""What the searcher tried: the values it chose, and what came of them."""


def points_of_suggestion(sweep: SweepConfig, values: Mapping[str, Any]) -> list[Point]:
    """The points that a searcher's draw stands for, one for each seed."""
    method = values.get(METHOD, DEFAULT_METHOD)
    return suggested_points(sweep, method, {key: value for key, value in values.items() if key != METHOD})


def score_of(report: EpochReport, before: float | None, *, delivers: str) -> float | None:
    """What a point counts with after an epoch: the score of what it would deliver now.

    Args:
        before: what it counted with after the epoch before.
    """
    if delivers == "last" or before is None or report.dev_score is None:
        return report.dev_score
    return max(before, report.dev_score)


def history(journal: Journal) -> History:
    """The suggestions of a searcher whose points are all done, early or not, with their means over seeds."""
    suggestions: dict[str, list[PointDescription]] = {}
    for point_id in journal.points.ids():
        described = journal.points.description(point_id)
        if described.suggested:
            suggestions.setdefault(json.dumps(described.suggested, sort_keys=True), []).append(described)
    tried = []
    for points in suggestions.values():
        configs = {each.id: point_from_record(each.config, where=each.id) for each in points}
        found = [score_in(journal, name, before=None, delivers=config.delivers) for name, config in configs.items()]
        scores = [score for score in found if score is not None]
        states = [journal.points.state(each.id).status for each in points]
        if scores and all(status in ("finished", "stopped", "failed") for status in states):
            tried.append((dict(points[0].suggested or {}), fmean(scores)))
    return tried


def score_in(journal: Journal, point_id: str, *, before: int | None, delivers: str) -> float | None:
    """What a point counts with after the epochs that are recorded; None before its first one.

    Args:
        before: only epochs before this one; None takes all.
    """
    score = None
    for report in journal.epochs.of(point_id):
        if before is None or report.epoch < before:
            score = score_of(report, score, delivers=delivers)
    return score


def tpe(sweep: SweepConfig, tried: History) -> "OptunaSearch":
    """Optuna's TPE sampler over the space of a sweep, going on from its history."""
    # A second of every other sweep's start.
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    dimensions: dict[str, Any] = {key: _domain(dimension) for key, dimension in sweep.search.space.items()}
    if sweep.methods:
        dimensions[METHOD] = tune.choice(sorted(sweep.methods))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return OptunaSearch(
        space=dimensions,
        metric=METRIC,
        mode="max",
        # The same seed again would draw the points of the history once more.
        seed=sweep.search.seed + len(tried),
        points_to_evaluate=[values for values, _ in tried] or None,
        evaluated_rewards=[reward for _, reward in tried] or None,
    )


def early_stopping(sweep: SweepConfig, configs: Sequence[PointBase]) -> AsyncHyperBandScheduler | None:
    """ASHA on the number of epochs done, where the sweep asks for it."""
    asha = sweep.search.scheduler
    if asha is None:
        return None
    is_searched = sweep.search.algorithm == "optuna"
    epochs = max(config.num_epochs for config in configs) * (len(sweep.seeds or (None,)) if is_searched else 1)
    return AsyncHyperBandScheduler(
        time_attr=EPOCHS,
        # One beyond the last epoch: a point that got there is finished, not stopped.
        max_t=epochs + 1,
        grace_period=min(asha.grace_epochs, epochs),
        reduction_factor=asha.reduction_factor,
    )


def _domain(dimension: Any) -> Any:
    if isinstance(dimension, Choice):
        return tune.choice(list(dimension.choice))
    if isinstance(dimension, Uniform):
        return tune.uniform(*dimension.uniform)
    if isinstance(dimension, LogUniform):
        return tune.loguniform(*dimension.log_uniform)
    assert isinstance(dimension, IntRange), dimension
    return tune.randint(dimension.int_range[0], dimension.int_range[1] + 1)
