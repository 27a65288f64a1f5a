"""When to save inside an epoch, with a clock that the test moves."""

import itertools
from pathlib import Path

import pytest

from raykd.results.artifacts import Store
from raykd.worker import timer as pace
from raykd.worker.context import WorkerContext
from raykd.worker.timer import CheckpointTimer, no_notice


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def walk(clock: list[float], asked: CheckpointTimer, steps: int, *, seconds: float, busy: bool = False) -> list[int]:
    """The steps after which it was time to save, each of which saves."""
    due = []
    for step in range(1, steps + 1):
        clock[0] += seconds
        if asked.is_due(busy=busy):
            due.append(step)
            asked.saved()
    return due


def of(seconds: float | None, notice=no_notice) -> CheckpointTimer:
    return CheckpointTimer(WorkerContext(Store(Path()), Path()), seconds, notice)


def test_time_since_the_last_checkpoint_decides(clock):
    due = walk(clock, of(60.0), 1000, seconds=0.5)
    assert len(due) == 8
    assert all(120 <= later - earlier <= 124 for earlier, later in itertools.pairwise(due))


def test_no_time_at_all_is_every_boundary(clock):
    assert walk(clock, of(0.0), 5, seconds=0.5) == [1, 2, 3, 4, 5]


def test_null_is_never(clock):
    assert walk(clock, of(None), 100, seconds=60.0) == []


def test_a_checkpoint_under_way_puts_off_the_next(clock):
    assert walk(clock, of(1.0), 20, seconds=1.0, busy=True) == []


def test_ranks_meet_every_few_seconds_not_every_step(clock):
    meetings = []

    def notice() -> None:
        meetings.append(clock[0])

    walk(clock, of(None, notice), 10_000, seconds=0.01)
    gaps = [later - earlier for earlier, later in itertools.pairwise(meetings)]
    assert all(gap == pytest.approx(pace.LOOK_SECONDS, rel=0.02) for gap in gaps[6:])
    assert len(meetings) < 60


def test_each_notice_is_answered_once(clock):
    def notice() -> tuple[str, ...] | None:
        return None if clock[0] < 1005 else ("a",) if clock[0] < 1020 else ("a", "b")

    # It looks at every other step.
    assert walk(clock, of(600.0, notice), 40, seconds=1.0) == [5, 21]
