"""Signs of life, against a clock that the test moves."""

import pytest

from raykd import pulse as pulses
from raykd.pulse import PATIENCE, SLOW_STEPS, UNKNOWN, WRITE_SECONDS, Listener, Pulse


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
    assert said[-1]["patience"] == UNKNOWN
    clock.now += 3.0
    pulse.moved()
    assert said[-1]["patience"] == SLOW_STEPS * 3.0
    pulse.begin("exporting", "export")
    assert said[-1]["patience"] == UNKNOWN
    clock.now += 0.5
    pulse.begin("training", "epoch 2")
    assert said[-1]["patience"] == SLOW_STEPS * 3.0
    pulse.begin("exporting", "export")
    assert said[-1]["patience"] == PATIENCE


def test_many_quick_steps_are_told_every_few_seconds(clock):
    said = []
    train(Pulse(said.append), clock, steps=1000, seconds=0.02)
    assert len(said) <= 3 + 20 / WRITE_SECONDS
    assert said[-1]["count"] > 750


def test_a_listener_waits_as_long_as_the_record_allows(clock):
    said = []
    train(Pulse(said.append), clock, steps=10, seconds=0.1)
    listener = Listener()
    assert listener.silent_for(None, 0.0) is None
    assert listener.silent_for(said[-1], 0.0) is None
    assert listener.silent_for(said[-1], PATIENCE) is None
    silence = PATIENCE + WRITE_SECONDS + 1
    assert listener.silent_for(said[-1], silence) == silence
    assert listener.silent_for({**said[-1], "count": 11}, silence) is None
