"""Test sets: what is delivered is scored on them once, when nothing is left to be chosen."""

import time
from collections.abc import Iterator, Sequence

from raykd.config.identity import Identity
from raykd.results.journal import Journal
from raykd.results.tests import BaseTest, PointTest
from raykd.tasks.outcomes import Scores
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine
from raykd.worker.handoff import frozen
from raykd.worker.passes import base_scores, score, score_zero


def untested(context: WorkerContext, point: Identity, artifact: str) -> list[str]:
    """The test sets of a point that an artifact was not scored on, as they are now."""
    tests = Journal(context.store).tests
    return context.from_rank_0(
        [name for name in point.config.test_sets if not tests.holds(point.id, name, point.test_digest(name), artifact)]
    )


def score_on_tests(
    context: WorkerContext, point: Identity, artifact: str, model: Engine, *, chosen: Scores
) -> Iterator[PointTest]:
    """Score what a point delivered on its test sets, as far as that was not done, and record it. Every rank calls it.

    Args:
        artifact: what it delivered; `model` holds its weights.
        chosen: its scores on the selection set.
    """
    for name in untested(context, point, artifact):
        scored = score(context, model, point, point.config.test_sets[name], reader=artifact, chosen=chosen)
        found = PointTest(
            name=name, digest=point.test_digest(name), artifact=artifact, scores=scored.scores, written=time.time()
        )
        if context.rank == 0:
            Journal(context.store).tests.write(point.id, found, scored.outcomes)
        yield found


def score_artifact_on_tests(context: WorkerContext, point: Identity, artifact: str) -> Iterator[PointTest]:
    """The same of a finished point, with the artifact as storage holds it; loaded only if need be."""
    if untested(context, point, artifact):
        result = Journal(context.store).points.result(point.id)
        assert result is not None, f"{point.id} is not finished"
        with frozen(context, point.config, artifact) as engine:
            yield from score_on_tests(context, point, artifact, engine, chosen=result.scores)


def score_bases_on_tests(context: WorkerContext, points: Sequence[Identity]) -> Iterator[str]:
    """Score each generation 0 of points on its test sets, as far as that was not done; yields a line for each set."""
    wanted = {point.test_scores(name): (point, name) for point in points for name in point.config.test_sets}
    for path, (point, name) in wanted.items():
        if context.from_rank_0(context.store.exists(path)):
            continue
        chosen = base_scores(context.store, point).final
        scored = score_zero(context, point, point.config.test_sets[name], chosen=chosen)
        if context.rank == 0:
            record = BaseTest(
                name=name,
                digest=point.test_digest(name),
                base=point.zero,
                scores=scored.scores,
                outcomes=scored.outcomes,
                written=time.time(),
            )
            context.store.write_record(path, record)
        context.barrier()
        yield f"test set {name}: generation 0 scores {scored.scores.headline}"
