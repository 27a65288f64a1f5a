"""Signs of life, against a clock that the test moves."""

from dataclasses import replace

import pytest

from raykd.worker import heartbeat as heartbeats
from raykd.worker.heartbeat import SHORTEST_STALL, SLOW_STEPS, UNKNOWN, WRITE_SECONDS, Heartbeat, StallDetector


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(heartbeats, "time", clock)
    return clock


def train(heartbeat: Heartbeat, clock: Clock, *, steps: int, seconds: float) -> None:
    heartbeat.begin("training", "epoch")
    for _ in range(steps):
        clock.now += seconds
        heartbeat.moved()


def test_allowed_silence_is_long_with_what_is_new_and_follows_the_slowest_step_seen(clock):
    said = []
    heartbeat = Heartbeat(said.append)
    heartbeat.begin("training", "epoch 1")
    assert said[-1].allowed_silence == UNKNOWN
    clock.now += 3.0
    heartbeat.moved()
    assert said[-1].allowed_silence == SLOW_STEPS * 3.0
    heartbeat.begin("exporting", "export")
    assert said[-1].allowed_silence == UNKNOWN
    clock.now += 0.5
    heartbeat.begin("training", "epoch 2")
    assert said[-1].allowed_silence == SLOW_STEPS * 3.0
    heartbeat.begin("exporting", "export")
    assert said[-1].allowed_silence == SHORTEST_STALL


def test_many_quick_steps_are_told_every_few_seconds(clock):
    said = []
    train(Heartbeat(said.append), clock, steps=1000, seconds=0.02)
    assert len(said) <= 3 + 20 / WRITE_SECONDS
    assert said[-1].count > 750


def test_an_epochs_steps_tell_how_far_it_is_and_what_it_still_takes(clock):
    said = []
    heartbeat = Heartbeat(said.append)
    heartbeat.begin("starting", "starting")
    assert (said[-1].epoch, said[-1].share, said[-1].seconds_left) == (None, 0.0, None)
    heartbeat.begin("training", "epoch 3", epoch=2, steps=(4, 10))
    assert (said[-1].epoch, said[-1].share, said[-1].seconds_left) == (2, 0.4, None)
    clock.now += 5.0
    heartbeat.moved()
    # Half of the steps are done; the one that this process did took 5 s.
    assert (said[-1].share, said[-1].seconds_left) == (0.5, 25.0)
    heartbeat.begin("scoring", "scoring", steps=(10, 10))
    clock.now += 5.0
    heartbeat.moved()
    assert (said[-1].epoch, said[-1].share, said[-1].seconds_left) == (2, 1.0, 0.0)


def test_that_the_point_got_on_is_told_at_once(clock):
    said = []
    heartbeat = Heartbeat(said.append)
    for epoch in range(5):
        heartbeat.begin("training", "training", epoch=epoch)
        assert said[-1].epoch == epoch


def test_a_listener_waits_as_long_as_the_record_allows(clock):
    said = []
    train(Heartbeat(said.append), clock, steps=10, seconds=0.1)
    detector = StallDetector()
    assert detector.silent_for(None, 0.0) is None
    assert detector.silent_for(said[-1], 0.0) is None
    assert detector.silent_for(said[-1], SHORTEST_STALL) is None
    silence = SHORTEST_STALL + WRITE_SECONDS + 1
    assert detector.silent_for(said[-1], silence) == silence
    assert detector.silent_for(replace(said[-1], count=11), silence) is None
