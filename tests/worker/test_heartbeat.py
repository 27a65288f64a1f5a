"""Signs of life, against a clock that the test moves."""

from dataclasses import replace

import pytest

from raykd.worker import heartbeat as pulses
from raykd.worker.heartbeat import PATIENCE, SLOW_STEPS, UNKNOWN, WRITE_SECONDS, Listener, Pulse


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
    monkeypatch.setattr(pulses, "time", clock)
    return clock


def train(pulse: Pulse, clock: Clock, *, steps: int, seconds: float) -> None:
    pulse.begin("training", "epoch")
    for _ in range(steps):
        clock.now += seconds
        pulse.moved()


def test_patience_is_long_with_what_is_new_and_follows_the_slowest_step_seen(clock):
    said = []
    pulse = Pulse(said.append)
    pulse.begin("training", "epoch 1")
    assert said[-1].patience == UNKNOWN
    clock.now += 3.0
    pulse.moved()
    assert said[-1].patience == SLOW_STEPS * 3.0
    pulse.begin("exporting", "export")
    assert said[-1].patience == UNKNOWN
    clock.now += 0.5
    pulse.begin("training", "epoch 2")
    assert said[-1].patience == SLOW_STEPS * 3.0
    pulse.begin("exporting", "export")
    assert said[-1].patience == PATIENCE


def test_many_quick_steps_are_told_every_few_seconds(clock):
    said = []
    train(Pulse(said.append), clock, steps=1000, seconds=0.02)
    assert len(said) <= 3 + 20 / WRITE_SECONDS
    assert said[-1].count > 750


def test_an_epochs_steps_tell_how_far_it_is_and_what_it_still_takes(clock):
    said = []
    pulse = Pulse(said.append)
    pulse.begin("starting", "starting")
    assert (said[-1].epoch, said[-1].share, said[-1].seconds_left) == (None, 0.0, None)
    pulse.begin("training", "epoch 3", epoch=2, steps=(4, 10))
    assert (said[-1].epoch, said[-1].share, said[-1].seconds_left) == (2, 0.4, None)
    clock.now += 5.0
    pulse.moved()
    # Half of the steps are done; the one that this process did took 5 s.
    assert (said[-1].share, said[-1].seconds_left) == (0.5, 25.0)
    pulse.begin("scoring", "scoring", steps=(10, 10))
    clock.now += 5.0
    pulse.moved()
    assert (said[-1].epoch, said[-1].share, said[-1].seconds_left) == (2, 1.0, 0.0)


def test_that_the_point_got_on_is_told_at_once(clock):
    said = []
    pulse = Pulse(said.append)
    for epoch in range(5):
        pulse.begin("training", "training", epoch=epoch)
        assert said[-1].epoch == epoch


def test_a_listener_waits_as_long_as_the_record_allows(clock):
    said = []
    train(Pulse(said.append), clock, steps=10, seconds=0.1)
    listener = Listener()
    assert listener.silent_for(None, 0.0) is None
    assert listener.silent_for(said[-1], 0.0) is None
    assert listener.silent_for(said[-1], PATIENCE) is None
    silence = PATIENCE + WRITE_SECONDS + 1
    assert listener.silent_for(said[-1], silence) == silence
    assert listener.silent_for(replace(said[-1], count=11), silence) is None
