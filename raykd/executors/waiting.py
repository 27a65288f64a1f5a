"""What a run waits for, and which of its actors live: asked of Ray's own control store, without a dashboard."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from raykd.errors import StallError
from raykd.executors.ray_internals import (
    Reservation,
    actors,
    cluster_config,
    dead_jobs,
    give_back,
    is_dead,
    reservations,
)
from raykd.results.words import counted
from raykd.waits import seconds

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
STALL_SECONDS = seconds("RAYKD_STALL_SECONDS", 30.0)
"""A run that waits for what no node can hold ends after so long."""
TELL_SECONDS = 15.0
"""What is waited for is said after so long, and again each minute."""


@dataclass(frozen=True)
class Waiting:
    """A reservation of resources that Ray has not made.

    Attributes:
        hopeless: no node that is there, or that an autoscaler may add, can ever hold it.
    """

    reason: str
    hopeless: bool


class ReservationWatch:
    """Watches what this job waits for: says it after a while, and ends the wait where it is hopeless.

    Attributes:
        reasons: why it waits, as of the last look.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """
        Args:
            say: told what is waited for.
        """
        self.say, self.told = say, 0.0
        self.since: float | None = None
        self.reasons: tuple[str, ...] = ()

    def look(self, *, is_running: bool) -> None:
        """Look at what is waited for; to be called every few seconds.

        Args:
            is_running: whether something of the job runs, which what waits may well be waiting for.

        Raises:
            StallError: if the job has waited for long, and no node can hold what it waits for.
        """
        try:
            reap_orphans()
            now, waiting = time.monotonic(), waiting_reservations()
        except (RayError, RuntimeError, OSError, LookupError) as error:
            # A control store that is busy, or in the middle of a change, is no reason to end a run.
            log.warning("Ray did not say what is waited for: %s", error)
            return
        self.reasons = tuple(dict.fromkeys(each.reason for each in waiting))
        hopeless = any(each.hopeless for each in waiting)
        if not waiting or (is_running and not hopeless):
            self.since = None
            return
        self.since = self.since or now
        waited = now - self.since
        if waited > STALL_SECONDS and hopeless:
            raise StallError(
                [*(f"nothing starts for {waited:.0f} s: {reason}" for reason in self.reasons), *actors_of_job()]
            )
        if waited > TELL_SECONDS and now - self.told > 60:
            self.told = now
            for reason in self.reasons:
                self.say(f"waiting: {reason}")


def waiting_reservations() -> list[Waiting]:
    """What this job has asked for and has not got."""
    ids = [each.id.hex() for each in _reservations_of_job()]
    table = ray.util.placement_group_table()
    groups = [table[each] for each in ids if each in table]
    return [_waiting(group) for group in groups if group["state"] in ("PENDING", "RESCHEDULING")]


def reap_orphans() -> None:
    """Give back what dead actors of this job reserved: a worker group whose trial was stopped early, or killed.

    So is what jobs that are over left behind, whoever's they were: Ray itself now and then keeps it for ever.
    """
    over, ours = dead_jobs(), _this_job()
    for each in reservations():
        if (each.job == ours and is_dead(each.actor)) or (each.job in over and not each.outlives_job):
            give_back(each)


def reap_all() -> None:
    """Give back all that this job reserved. Nothing of it may run."""
    for each in _reservations_of_job():
        give_back(each)


def actors_of_job() -> list[str]:
    """A line for each actor of this job that is not dead: class, state, process, address."""
    job = ray.get_runtime_context().get_job_id()
    alive = [actor for actor in actors() if actor["JobID"] == job and actor["State"] != "DEAD"]
    return [
        f"  {actor['ActorClassName'].rpartition('.')[2]}: {actor['State']}, process {actor['Pid'] or '-'}, "
        f"address {actor['Address']['IPAddress'] or '-'}"
        for actor in alive
    ]


def _reservations_of_job() -> Iterator[Reservation]:
    ours = _this_job()
    return (each for each in reservations() if each.job == ours)


def _this_job() -> bytes:
    return bytes.fromhex(ray.get_runtime_context().get_job_id())


def _waiting(group: Mapping[str, Any]) -> Waiting:
    asked = list(group["bundles"].values())
    each = ", ".join(f"{value:g} {name}" for name, value in sorted(asked[0].items()))
    some = f"{len(asked)} x {each}" if len(asked) > 1 else each
    free, alive = ray.available_resources(), [node["Resources"] for node in ray.nodes() if node["Alive"]]
    left = f"{free.get('CPU', 0):g} CPU and {free.get('GPU', 0):g} GPU are free on {counted(len(alive), 'node')}"
    if could_hold(alive, asked):
        return Waiting(f"{some} in use elsewhere; {left}", hopeless=False)
    if cluster_config() is not None:
        return Waiting(f"{some} to be added by the autoscaler; {left}", hopeless=False)
    return Waiting(f"no node can hold {some}; {left}", hopeless=True)


def could_hold(nodes: Iterable[Mapping[str, float]], asked: Iterable[Mapping[str, float]]) -> bool:
    """Whether nodes without any other work could hold bundles of resources, each of them on one node.

    Ray calls a group infeasible only where one of its bundles fits nowhere.
    """
    left = [dict(node) for node in nodes]
    for bundle in asked:
        found = next((node for node in left if all(node.get(name, 0) >= bundle[name] for name in bundle)), None)
        if found is None:
            return False
        for name, value in bundle.items():
            found[name] -= value
    return True
