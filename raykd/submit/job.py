"""What is sent to a cluster to run a sweep file there."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.runtime_env import RuntimeEnv

from raykd.config.yaml import parse_value
from raykd.errors import ConfigError
from raykd.plan.sweep import SweepConfig
from raykd.results.artifacts import fingerprint
from raykd.submit.cluster import Token, first_line, without_user
from raykd.submit.upload import check_upload, files_to_upload, upload_bytes

RUNTIME_ENV: dict[str, Any] = {
    "env_vars": {"TOKENIZERS_PARALLELISM": "false", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"},
    "excludes": [".git", ".venv", "runs", "**/__pycache__", "*.safetensors"],
}
"""What a job's processes need to know, and what is too large to upload; `cluster/runtime_env.yaml` says the same."""

SECRET = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIALS?)(_|$)", re.IGNORECASE)
"""Names of what must not be shown."""


@dataclass(frozen=True)
class Job:
    """A sweep as the Jobs API gets it."""

    submission_id: str
    entrypoint: str
    runtime_env: Mapping[str, Any]
    files: Mapping[str, int]
    """Relative path -> bytes of what is uploaded."""

    @property
    def upload_bytes(self) -> int:
        """Size of the upload."""
        return upload_bytes(self.files)


def make_job(
    file: Path,
    sweep: SweepConfig,
    *,
    working_dir: Path,
    storage: str | None,
    runtime_env: Path | None,
    options: Sequence[str] = (),
) -> Job:
    """What is sent to run a sweep file on a cluster.

    Args:
        file: the sweep file, in `working_dir`.
        working_dir: the folder that is uploaded and becomes the job's current one.
        storage: folder of the results in place of the sweep's; every node must see it. It is not uploaded.
        runtime_env: a file of Ray's runtime environment, in place of `RUNTIME_ENV`.
        options: further ones for `raykd sweep`.

    Raises:
        ConfigError: if the file is not in the upload, the upload is too large, or results would be lost.
    """
    storage = shared_storage(sweep, storage)
    if not working_dir.is_dir():
        raise ConfigError(f"--working-dir {working_dir}: no such folder")
    environment = _read_runtime_env(runtime_env)
    if data := os.environ.get("RAYKD_DATA"):
        environment["env_vars"] = {"RAYKD_DATA": data, **environment.get("env_vars", {})}
    if Path(storage).is_relative_to(working_dir.resolve()):
        inside = f"/{Path(storage).relative_to(working_dir.resolve()).as_posix()}"
        environment["excludes"] = [*environment.get("excludes", ()), inside]
    files = files_to_upload(working_dir, environment.get("excludes", ()))
    try:
        path = file.resolve().relative_to(working_dir.resolve()).as_posix()
    except ValueError as error:
        raise ConfigError(
            f"{file}: not in the uploaded folder {working_dir}; set --working-dir to its folder"
        ) from error
    if path not in files:
        raise ConfigError(
            f"{file}: excluded from the upload by .gitignore, .rayignore or the runtime environment's excludes"
        )
    check_upload(working_dir, files)
    command = ["python", "-m", "raykd", "sweep", path, "--storage", storage, *options]
    environment["working_dir"] = str(working_dir)
    return Job(submission_id(sweep, storage), shlex.join(command), environment, files)


def shared_storage(sweep: SweepConfig, storage: str | None) -> str:
    """The folder of a job's results.

    Raises:
        ConfigError: if it is relative: that would be inside the upload, which goes with the cluster.
    """
    storage = storage or sweep.storage or f"runs/{sweep.name}"
    if "://" not in storage and not storage.startswith("/"):
        raise ConfigError(
            f"storage: {storage} would be deleted with the job's working folder; "
            "give --storage an absolute path that every node mounts"
        )
    return storage


def submission_id(sweep: SweepConfig, storage: str) -> str:
    """The name of a sweep's first job: the same for the same sweep and storage, so that it never runs twice at once."""
    recipe = {**sweep.to_json(), "storage": storage}
    return f"raykd-{sweep.name}-{fingerprint(recipe)[:8]}"


def secret_variables(job: Job) -> list[str]:
    """Environment variables of a job whose names promise a secret."""
    return [name for name in job.runtime_env.get("env_vars", {}) if SECRET.search(name)]


def request(job: Job, address: str, token: Token | None) -> dict[str, Any]:
    """What `Cluster.submit` sends, to be shown: values that are secret are left out."""
    environment = dict(job.runtime_env)
    hidden = dict.fromkeys(secret_variables(job), "***")
    environment["env_vars"] = {**environment.get("env_vars", {}), **hidden}
    shown = {
        "url": f"POST {address}/api/jobs/",
        "headers": {"Authorization": f"Bearer (from {token.source})"} if token else {},
        "submission_id": job.submission_id,
        "entrypoint": job.entrypoint,
        "runtime_env": environment,
        "upload": {"files": len(job.files), "bytes": job.upload_bytes},
    }
    return _without_users(shown)


def _read_runtime_env(file: Path | None) -> dict[str, Any]:
    if file is None:
        return dict(RUNTIME_ENV)
    try:
        environment = parse_value(file.read_text(encoding="utf-8")) or {}
        if not isinstance(environment, dict):
            raise ConfigError("must be a mapping of keys to values, like `excludes: [data]`")
        environment.pop("working_dir", None)
        RuntimeEnv(**environment)
    except ConfigError as error:
        raise ConfigError(f"{file}: {problem}" for problem in error.problems) from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{file}: {first_line(error)}") from error
    return environment


def _without_users(value: Any) -> Any:
    if isinstance(value, str):
        return without_user(value)
    if isinstance(value, Mapping):
        return {key: _without_users(item) for key, item in value.items()}
    return [_without_users(item) for item in value] if isinstance(value, list) else value
