"""Points that a searcher chooses while the sweep runs, and the scheduler that stops them early."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler

from raykd.config.point import PointBase
from raykd.plan.points import DEFAULT_METHOD, Point, suggested_point
from raykd.plan.sweep import Choice, IntRange, LogUniform, SweepConfig, Uniform
from raykd.results.journal import Journal

if TYPE_CHECKING:
    from ray.tune.search.optuna import OptunaSearch

METRIC = "dev_score"
METHOD = "method"

History = Sequence[tuple[dict[str, Any], float]]
"""What the searcher tried: the values it chose, and the last dev score of that point."""


def point_of_suggestion(sweep: SweepConfig, values: Mapping[str, Any]) -> Point:
    """The point that a searcher's draw stands for."""
    method = values.get(METHOD, DEFAULT_METHOD)
    return suggested_point(sweep, method, {key: value for key, value in values.items() if key != METHOD})


def history(journal: Journal) -> History:
    """The points of a searcher that are done, early or not."""
    tried = []
    for point_id in journal.points.ids():
        suggested = journal.points.description(point_id).suggested
        last = journal.epochs.find(point_id, journal.epochs.last(point_id))
        done = journal.points.state(point_id).status in ("finished", "stopped")
        if suggested and done and last is not None and last.dev_score is not None:
            tried.append((dict(suggested), last.dev_score))
    return tried


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
    epochs = max(config.num_epochs for config in configs)
    return AsyncHyperBandScheduler(
        time_attr="epoch",
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
