"""What raykd needs of Ray's private modules: the only module that touches them, and the versions it is right for."""

import importlib
import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from raykd.errors import ClusterError

RAY_VERSIONS = SpecifierSet(">=2.60,<2.61")
"""Versions of Ray whose private modules are known here; `pyproject.toml` asks for the same ones."""


_PACKAGING = "ray._private.runtime_env.packaging"


@dataclass(frozen=True)
class Reservation:
    """A placement group that is there, and who made it.

    Attributes:
        actor: id of the actor that made it; empty where the driver of the job did.
        outlives_job: it was made to stay when its job ends.
    """

    id: bytes
    job: bytes
    actor: bytes
    outlives_job: bool


def cluster_config() -> Any:
    """The autoscaler's ClusterConfig of the connected cluster; None where nothing adds nodes."""
    return _state().get_cluster_config()


def dead_jobs() -> set[bytes]:
    """Ids of the jobs that are over."""
    return {bytes.fromhex(job["JobID"]) for job in _state().job_table() if job["IsDead"]}


def actors() -> list[Mapping[str, Any]]:
    """All actors of the cluster, as Ray's control store describes them: JobID, ActorClassName, State, Pid, Address."""
    return list(_state().actor_table(None).values())


def is_dead(actor: bytes) -> bool:
    """Whether an actor is known and dead."""
    return bool(actor) and _state().actor_table(actor.hex()).get("State") == "DEAD"


def reservations() -> Iterator[Reservation]:
    """The placement groups that are there. Ray's public table does not say whose they are."""
    table = _private("ray.core.generated.gcs_pb2").PlacementGroupTableData
    nil = _private("ray").ActorID.nil().binary()
    for record in _state()._connect_and_get_accessor().get_placement_group_table():
        group = table.FromString(record)
        if group.state != table.REMOVED:
            actor = b"" if group.creator_actor_id == nil else group.creator_actor_id
            yield Reservation(group.placement_group_id, group.creator_job_id, actor, group.is_detached)


def give_back(reservation: Reservation) -> None:
    """Remove a placement group."""
    ray = _private("ray")
    group = _private("ray.util.placement_group").PlacementGroup(ray.PlacementGroupID(reservation.id))
    ray.util.remove_placement_group(group)


def torch_trainer() -> type:
    """Ray Train's TorchTrainer without its cleaner of placement groups, whose work `waiting.reap_orphans` does.

    The cleaner is a detached actor that needs a dashboard, and stays for ever when its controller is killed, since it
    tries to end itself from a thread.
    """
    cleaner = _private("ray.train.v2._internal.callbacks.placement_group_callback").PlacementGroupCleanerCallback
    base: Any = _private("ray.train.torch").TorchTrainer

    class Trainer(base):
        def _create_default_callbacks(self) -> list[Any]:
            return [each for each in super()._create_default_callbacks() if not isinstance(each, cleaner)]

    return Trainer


def upload_limit() -> int:
    """Bytes that the Jobs API takes in a request."""
    return int(_private("ray._private.ray_constants").DASHBOARD_CLIENT_MAX_SIZE)


def ignore_gitignore_variable() -> str:
    """The environment variable that, set to 1, lets Ray upload what `.gitignore` names."""
    return str(_private("ray._private.ray_constants").RAY_RUNTIME_ENV_IGNORE_GITIGNORE)


def walk_upload(folder: Path, excludes: Iterable[str], take: Callable[[Path], None], *, reads_gitignore: bool) -> None:
    """Call `take` with every path that Ray would upload of a folder, as Ray's own walk finds them."""
    constants, packaging = _private("ray._private.ray_constants"), _private(_PACKAGING)
    patterns = [*constants.get_runtime_env_default_excludes(), *excludes]
    excluded = packaging._get_excludes(folder, patterns)
    packaging._dir_travel(folder, [excluded], take, include_gitignore=reads_gitignore)


def silence_uploads() -> None:
    """Let Ray not report each step of an upload and of a log, which it does at whatever level its callers log."""
    for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", _PACKAGING):
        logging.getLogger(name).setLevel(logging.ERROR)


def _state() -> Any:
    return _private("ray._private.state").state


def _private(module: str) -> Any:
    """A module of Ray.

    Raises:
        ClusterError: if this Ray is not one whose private modules are known here.
    """
    found = importlib.metadata.version("ray")
    if not RAY_VERSIONS.contains(found, prereleases=True):
        raise ClusterError(f"ray {found} is installed: this raykd works with ray {RAY_VERSIONS}; install one of these")
    return importlib.import_module(module)
