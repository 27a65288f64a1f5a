"""What must hold of the status of a sweep at every moment, and from one moment to the next."""

import json
from typing import Any

from raykd.results.find import best_point
from raykd.status import STATES, Best, PointStatus, Run, SweepStatus


def status_of(document: dict[str, Any]) -> SweepStatus:
    """The status that `raykd status --json` printed."""
    run, best = document["run"], document["best"]
    points = tuple(PointStatus(**point) for point in document["points"])
    return SweepStatus(**{**document, "run": run and Run(**run), "best": best and Best(**best), "points": points})


class Watcher:
    """Takes statuses one after another and refuses what cannot be."""

    def __init__(self) -> None:
        self.last: SweepStatus | None = None
        self.reached: dict[tuple[str, int], int] = {}
        self.num_seen = 0

    def see(self, status: SweepStatus) -> None:
        """One more status, younger than those before."""
        self.num_seen += 1
        json.dumps(status.to_json(), allow_nan=False)
        assert list(status.counts) == list(STATES)
        assert sum(status.counts.values()) == status.num_points == len(status.points)
        assert len({point.id for point in status.points}) == status.num_points
        assert 0 <= status.epochs <= status.num_epochs
        assert status.seconds_left is None or status.seconds_left >= 0
        best = best_point(status.points, lambda point: point.named)
        assert (status.best.id if status.best else None) == (best.id if best else None)
        assert (status.best is None) == all(point.score is None for point in status.points)
        for point in status.points:
            self._see_point(point)
        if status.run is None:
            assert status.counts["running"] == 0
        if self.last is not None:
            self._follows(self.last, status)
        self.last = status

    def _see_point(self, point: PointStatus) -> None:
        assert point.state in STATES
        assert 0 <= point.share <= 1
        if point.state == "finished":
            assert point.score is not None
        if point.state == "failed":
            assert point.error
        if point.state == "running":
            assert point.attempts > 0
        if point.epoch is not None:
            assert point.epoch <= point.num_epochs
            assert (point.loss is None) == (point.epoch == 0)
            known = point.id, point.attempts
            assert point.epoch >= self.reached.get(known, 0)
            self.reached[known] = point.epoch

    @staticmethod
    def _follows(before: SweepStatus, after: SweepStatus) -> None:
        assert after.num_points >= before.num_points
        assert (before.best.score if before.best else -1.0) <= (after.best.score if after.best else -1.0)
        states = {point.id: point for point in after.points}
        for point in before.points:
            assert states[point.id].attempts >= point.attempts
            if point.state == "finished":
                assert states[point.id] == point
