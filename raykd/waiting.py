"""What a run waits for, and which of its actors live: asked of Ray's own control store, without a dashboard."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import ray
from ray._private.state import state as cluster_state

Bundle = Mapping[str, float]

STALL_SECONDS = 30.0
"""A run that waits for what no node can hold ends after so long."""


@dataclass(frozen=True)
class Waiting:
    """A reservation of resources that Ray has not made.

    Attributes:
        hopeless: no node that is there, or that an autoscaler may add, can ever hold it.
    """

    reason: str
    hopeless: bool


def waiting_for(bundles: Collection[Bundle]) -> list[Waiting]:
    """The reservations that wait for these kinds of bundles. Others of the cluster are not ours to speak of."""
    wanted = {_key(bundle) for bundle in bundles}
    found = []
    for group in ray.util.placement_group_table().values():
        asked = [dict(bundle) for bundle in group["bundles"].values()]
        if group["state"] in ("PENDING", "RESCHEDULING") and {_key(bundle) for bundle in asked} <= wanted:
            found.append(_waiting(asked, group["stats"]["scheduling_state"]))
    return found


def _waiting(asked: list[Bundle], scheduling: str) -> Waiting:
    grows = cluster_state.get_cluster_config() is not None
    free, alive = ray.available_resources(), [node for node in ray.nodes() if node["Alive"]]
    each = ", ".join(f"{value:g} {name}" for name, value in sorted(asked[0].items()))
    some = f"{len(asked)} x {each}" if len(asked) > 1 else each
    left = f"{free.get('CPU', 0):g} CPU and {free.get('GPU', 0):g} GPU are free on {len(alive)} node(s)"
    if scheduling != "INFEASIBLE":
        return Waiting(f"{some} in use elsewhere; {left}", hopeless=False)
    if grows:
        return Waiting(f"{some} to be added by the autoscaler; {left}", hopeless=False)
    return Waiting(f"no node can hold {some}; {left}", hopeless=True)


def actors_of_job() -> list[str]:
    """A line for each actor of this job that is not dead: class, state, node, process."""
    job = ray.get_runtime_context().get_job_id()
    actors = cluster_state.actor_table(None).values()
    alive = [actor for actor in actors if actor["JobID"] == job and actor["State"] != "DEAD"]
    return [
        f"  {actor['ActorClassName'].rpartition('.')[2]}: {actor['State']}, process {actor['Pid'] or '-'}, "
        f"address {actor['Address']['IPAddress'] or '-'}"
        for actor in alive
    ]


def _key(bundle: Bundle) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((name, round(value, 4)) for name, value in bundle.items() if value))
