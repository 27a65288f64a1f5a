"""Trying again while a storage does not answer."""

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from raykd.errors import StorageError

T = TypeVar("T")
log = logging.getLogger(__name__)

RETRY_SECONDS = 90.0
"""A storage may be gone for so long."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0

_ERRNOS = {
    *(errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.EAGAIN, errno.EBUSY),
    *(errno.ENOTCONN, errno.ETIMEDOUT, errno.ESHUTDOWN, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    *(errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET),
}
_STATUSES = {408, 429}
_CLASSES = {
    *("HTTPClientError", "ConnectionError", "EndpointConnectionError", "ClientConnectionError", "ClientPayloadError"),
    *("FSTimeoutError", "TransportError"),
}
"""Of botocore, aiohttp, fsspec and google-auth, by name: none of them need be installed."""


def with_retries(operation: Callable[[], T], *, where: str) -> T:
    """What an operation returns, tried again with growing pauses as long as the storage does not answer.

    Args:
        where: the storage, for the log and the error.

    Raises:
        StorageError: if it did not answer for `RETRY_SECONDS` seconds, or answered with what no file system says.
        OSError: anything else: missing, there already, not allowed, full.
    """
    pause, ends = FIRST_PAUSE, None
    while True:
        try:
            return operation()
        except Exception as error:
            if not is_transient(error):
                if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in ("builtins", "raykd"):
                    raise
                raise StorageError(f"{where}: {_reason(error)}; check the address and credentials") from error
            ends = ends or time.monotonic() + RETRY_SECONDS
            if time.monotonic() + pause > ends:
                raise StorageError(
                    f"{where}: the storage has not answered for {RETRY_SECONDS:g} s ({_reason(error)}); "
                    "bring it back, then run the same command again"
                ) from error
            log.warning("%s does not answer (%s); retrying in %g s", where, _reason(error), pause)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def is_transient(error: BaseException) -> bool:
    """Whether the same operation may well succeed a little later."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    # google-cloud's errors carry `code`, aiohttp's `status`; both may hold text.
    status = str(getattr(error, "code", None) or getattr(error, "status", None))
    if status.isdigit() and (int(status) in _STATUSES or int(status) // 100 == 5):
        return True
    return any(base.__name__ in _CLASSES for base in type(error).__mro__)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
