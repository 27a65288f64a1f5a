"""Whether a storage can be used: a little is written here and read on every node."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from raykd.errors import CapacityError, StorageError
from raykd.storage.storage import Storage

PROBE_BYTES = 1 << 20


def write_probe(storage: Storage, token: str) -> None:
    """Write a little, for `read_probe` on every node.

    Args:
        token: of letters and digits; a name that no other run uses.

    Raises:
        CapacityError: if this machine cannot write here, or a file can be created twice: no lease could be trusted.
    """
    name = _name(token)
    with _refused("write", storage):
        storage.create(name, _content(token))
        try:
            storage.create(name, b"again")
        except FileExistsError:
            return
    raise CapacityError(
        f"{storage.root}: a file can be created twice here, so two runs could hold this sweep at once; use another "
        "storage (an object store must support conditional writes, If-None-Match)"
    )


def read_probe(storage: Storage, token: str) -> None:
    """Read what `write_probe` wrote, on whatever node.

    Raises:
        CapacityError: if this machine does not see it.
    """
    with _refused("read", storage):
        data = storage.read(_name(token))
    if data != _content(token):
        raise CapacityError(
            f"{storage.root}: {os.uname().nodename} reads other bytes than were written; check the mount"
        )


def remove_probe(storage: Storage, token: str) -> None:
    """Remove what `write_probe` wrote."""
    storage.remove(_name(token))


def is_full(storage: Storage) -> bool:
    """Whether not even a record fits any more."""
    return isinstance(storage.root, Path) and shutil.disk_usage(storage.root).free < PROBE_BYTES


@contextlib.contextmanager
def _refused(verb: str, storage: Storage) -> Iterator[None]:
    """Turns what a storage refuses into what to do about it."""
    try:
        yield
    except (OSError, StorageError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise CapacityError(f"{storage.root}: the disk is full; free space or use another storage") from error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CapacityError(
            f"{storage.root}: cannot {verb} here, on {os.uname().nodename} ({reason}); make it reachable from every "
            "node, or use another storage"
        ) from error


def _name(token: str) -> str:
    return f".probe-{token}"


def _content(token: str) -> bytes:
    return token.encode() * (PROBE_BYTES // len(token))
