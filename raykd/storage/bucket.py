"""An object store through fsspec: a write is one PUT, which a reader sees whole or not at all."""

import contextlib
import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.errors import ConfigError
from raykd.storage.location import SCHEMES

# Below fsspec nobody tries again: `with_retries` does, and says so.
_OPTIONS = {"s3": {"config_kwargs": {"retries": {"total_max_attempts": 1}}}}


@dataclass(frozen=True)
class Bucket:
    """Objects below the prefix of a URL; names are relative and were checked. Credentials are the environment's."""

    url: str

    def read(self, name: str) -> bytes:
        """All bytes of an object."""
        return self._system().cat_file(self._key(name))

    def write(self, name: str, data: bytes) -> None:
        """Replace an object."""
        self._system().pipe_file(self._key(name), data)

    def create(self, name: str, data: bytes) -> None:
        """Write an object that is not there yet; one of several writers succeeds, the others get FileExistsError."""
        self._system().pipe_file(self._key(name), data, mode="create")

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name, or any below it."""
        try:
            self._system().info(self._key(name))
        except FileNotFoundError:
            return False
        return True

    def children(self, name: str) -> list[str]:
        """Names of what lies directly below a name."""
        key = self._key(name)
        with contextlib.suppress(FileNotFoundError):
            found = self._system().ls(key, detail=False)
            return [path.rstrip("/").rpartition("/")[2] for path in found if path.rstrip("/") != key]
        return []

    def files(self, name: str) -> dict[str, tuple[int, float]]:
        """Path relative to `name` -> size and time of change, of every object below it; "" for the object itself."""
        key = self._key(name)
        with contextlib.suppress(FileNotFoundError):
            found = self._system().find(key, detail=True)
            return {
                path.removeprefix(key).lstrip("/"): (info["size"], _changed(info))
                for path, info in found.items()
                if path == key or path.startswith(f"{key}/")
            }
        return {}

    def remove(self, name: str) -> None:
        """Remove an object, or all below a name."""
        with contextlib.suppress(FileNotFoundError):
            self._system().rm(self._key(name), recursive=True)

    def put(self, name: str, source: Path) -> None:
        """Copy a local file to an object."""
        self._system().put_file(str(source), self._key(name))

    def get(self, name: str, target: Path) -> None:
        """Copy an object to a local file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self._system().get_file(self._key(name), str(target))

    def _key(self, name: str) -> str:
        prefix = self.url.partition("://")[2]
        return f"{prefix}/{name}" if name else prefix

    def _system(self) -> Any:
        # fsspec hands out one instance for each set of arguments, which knows about processes and threads.
        import fsspec

        scheme = self.url.partition("://")[0]
        try:
            # A listing that is remembered would hide what other machines write.
            return fsspec.filesystem(scheme, use_listings_cache=False, **_OPTIONS.get(scheme, {}))
        except ImportError as error:
            raise ConfigError(
                f"{self.url}: {scheme}:// needs a package that is not installed here ({error}); "
                f"pip install 'raykd[{SCHEMES[scheme]}]' on every node"
            ) from error


def _changed(info: dict[str, Any]) -> float:
    changed = info.get("LastModified") or info.get("mtime") or info.get("updated")
    if isinstance(changed, str):
        changed = datetime.datetime.fromisoformat(changed)
    return changed.timestamp() if isinstance(changed, datetime.datetime) else 0.0
