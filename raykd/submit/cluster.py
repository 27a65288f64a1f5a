"""The Jobs API of a Ray cluster: where it is, with whose token, and how a job of it ends."""

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from raykd.errors import ClusterError, ConfigError, RaykdError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
CONNECT_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
"""So long may a cluster give no answer before a job that is followed is given up as lost."""
STOP_SECONDS = 60.0
POLL_SECONDS = 1.0

_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True)
class Token:
    """What a cluster knows its users by, and where it was found; only `source` may be shown."""

    value: str = field(repr=False)
    source: str


def find_token() -> Token | None:
    """The token, looked for as Ray does: RAY_AUTH_TOKEN, then the file RAY_AUTH_TOKEN_PATH, then ~/.ray/auth_token.

    Raises:
        ConfigError: if RAY_AUTH_TOKEN_PATH names a file that cannot be read or is empty.
    """
    if value := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return Token(value, "RAY_AUTH_TOKEN")
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named or "~/.ray/auth_token").expanduser()
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        value = ""
    if named and not value:
        raise ConfigError(f"RAY_AUTH_TOKEN_PATH: {named} cannot be read or is empty")
    return Token(value, str(path)) if value else None


def cluster_address(given: str | None) -> str:
    """Where the Jobs API is: what is given, or RAY_API_SERVER_ADDRESS, or RAY_ADDRESS if it is a URL, or this machine.

    Raises:
        ConfigError: if it is no http address.
    """
    ray_address = os.environ.get("RAY_ADDRESS", "")
    address = given or os.environ.get("RAY_API_SERVER_ADDRESS") or (ray_address if "://" in ray_address else None)
    address = (address or DEFAULT_ADDRESS).rstrip("/")
    address = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(address)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
        raise ConfigError(f"--address {without_user(address)}: give the URL of the dashboard, like {DEFAULT_ADDRESS}")
    return address


class Cluster:
    """The Jobs API of a Ray cluster."""

    def __init__(self, address: str, token: Token | None) -> None:
        """Connect.

        Raises:
            ClusterError: if nothing answers there, or the token is not the cluster's.
        """
        self.address, self._token = without_user(address), token
        parts = urlsplit(address)
        # Ray lets this variable win over the address that it is given.
        os.environ["RAY_API_SERVER_ADDRESS"] = address
        headers = {"Authorization": f"Bearer {token.value}"} if token else {}
        with self._explained():
            # Ray's own requests wait for ever.
            port = parts.port or (443 if parts.scheme == "https" else 80)
            socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
            self._client = JobSubmissionClient(address, headers=headers)

    def newest(self, sweep_id: str) -> tuple[str, JobStatus] | None:
        """Submission id and status of the newest job of a sweep; None if it was never submitted to this cluster."""
        jobs = self._numbered(sweep_id)
        return jobs[max(jobs)] if jobs else None

    def submit(self, sweep_id: str, *, entrypoint: str, runtime_env: Mapping[str, Any]) -> str:
        """Start a job of a sweep.

        Returns:
            Its submission id: the sweep's, numbered from the second job on. Ray may kill a job that takes the id of
            one that has just ended.

        Raises:
            ClusterError: if the cluster refuses it.
        """
        last = max(self._numbered(sweep_id), default=0)
        job_id = f"{sweep_id}-{last + 1}" if last else sweep_id
        with self._explained():
            self._client.submit_job(entrypoint=entrypoint, runtime_env=dict(runtime_env), submission_id=job_id)
        return job_id

    def follow(self, job_id: str, *, write: Callable[[str], None]) -> tuple[JobStatus, int]:
        """Write what a job says until it ends. A connection that is lost is taken up again.

        Returns:
            How it ended, and its exit code: 0 where it succeeded, else what its command returned, or 1.

        Raises:
            ClusterError: if the job could not be started.
            RaykdError: if the cluster has lost the job, or gives no answer any more; the job may be running then.
        """
        tail = _Tail(write)
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._explained():
            while True:
                try:
                    if ended := self._follow_once(job_id, tail):
                        return ended.status, self._exit_code(job_id, ended)
                    deadline = time.monotonic() + PATIENCE_SECONDS
                except (OSError, RuntimeError, aiohttp.ClientError) as error:
                    if time.monotonic() > deadline:
                        raise RaykdError(
                            f"{self.address}: no answer for {PATIENCE_SECONDS:.0f} s ({first_line(error)}); "
                            f"job {job_id} may still be running; run the same command to follow it"
                        ) from error
                time.sleep(POLL_SECONDS)

    def stop(self, job_id: str) -> JobStatus:
        """Stop a job and wait for its end; one that has ended stays as it is.

        Raises:
            ClusterError: if the cluster has no such job.
            RaykdError: if it has not ended within `STOP_SECONDS`.
        """
        deadline = time.monotonic() + STOP_SECONDS
        with self._explained():
            details = self._details(job_id)
            if details is None:
                raise ClusterError(f"{self.address}: no job {job_id}; `ray job list` lists the jobs")
            if not details.status.is_terminal():
                self._client.stop_job(job_id)
            while not details.status.is_terminal():
                if time.monotonic() > deadline:
                    raise RaykdError(
                        f"{self.address}: job {job_id} is still {details.status} after {STOP_SECONDS:.0f} s; "
                        "stop it again, or read its log with `ray job logs`"
                    )
                time.sleep(POLL_SECONDS / 2)
                details = self._details(job_id) or details
        return details.status

    def _follow_once(self, job_id: str, tail: "_Tail") -> JobDetails | None:
        """Write a job's log until it or the connection ends; returns the job if it has ended."""
        details = self._details(job_id)
        if details and details.status == JobStatus.PENDING:
            tail.waits(details.message or "pending")
            return None
        if details:
            asyncio.run(tail.read(self._client, job_id))
            details = self._details(job_id)
        if details is None:
            raise RaykdError(
                f"{self.address}: job {job_id} was lost with its head; submit it again to resume the sweep"
            )
        return details if details.status.is_terminal() else None

    def _numbered(self, sweep_id: str) -> dict[int, tuple[str, JobStatus]]:
        """The jobs of a sweep by the numbers in their ids."""
        of_sweep = re.compile(re.escape(sweep_id) + r"(?:-(\d+))?")
        with self._explained():
            jobs = [(job.submission_id or "", job.status) for job in self._client.list_jobs()]
        matched = [(of_sweep.fullmatch(job_id), job_id, status) for job_id, status in jobs]
        return {int(match[1] or 1): (job_id, status) for match, job_id, status in matched if match}

    def _details(self, job_id: str) -> JobDetails | None:
        try:
            return self._client.get_job_info(job_id)
        except RuntimeError as error:
            if "status code 404" in str(error):
                return None
            raise

    def _exit_code(self, job_id: str, details: JobDetails) -> int:
        if details.status == JobStatus.SUCCEEDED:
            return 0
        if details.status == JobStatus.FAILED and details.driver_exit_code is None:
            raise ClusterError(f"{self.address}: job {job_id} failed: {first_line(details.message)}")
        return max(1, details.driver_exit_code or 1)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """What can go wrong with a request, as one line."""
        try:
            yield
        except AuthenticationError as error:
            reason = (
                f"refused the token from {self._token.source}: use the one that the cluster was started with"
                if self._token
                else "needs a token: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to its file, or write ~/.ray/auth_token"
            )
            raise ClusterError(f"{self.address}: {reason}") from error
        except (OSError, KeyError) as error:
            reason = "no Ray cluster answers; check that it runs and that the port of its dashboard is forwarded"
            raise ClusterError(f"{self.address}: {reason} ({first_line(error)})") from error
        except (RuntimeError, ValueError) as error:
            raise ClusterError(f"{self.address}: {first_line(error)}") from error


class _Tail:
    """Reads a log that starts again with every connection, and writes each character once."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write, self.written, self.waited = write, 0, ""

    def waits(self, reason: str) -> None:
        """Write why a job has not begun, once."""
        if reason != self.waited:
            self.waited = reason
            self.write(f"{reason}\n")

    async def read(self, client: JobSubmissionClient, job_id: str) -> None:
        """Write what is not written yet, until the log ends."""
        position = 0
        async for text in client.tail_job_logs(job_id):
            fresh = text[max(0, self.written - position) :]
            position += len(text)
            self.written = max(self.written, position)
            if fresh:
                self.write(fresh)


def without_user(text: str) -> str:
    """A text without the user and password of its URLs."""
    return _USER_IN_URL.sub("", text)


def first_line(problem: object) -> str:
    """What an error says, to be shown in one line."""
    return without_user((str(problem).strip() or type(problem).__name__).splitlines()[0])
