"""Why something failed, in one line, out of all that Ray, torch and Python wrap around it."""

import errno
import os
import re
import traceback
from collections.abc import Iterator

from raykd.errors import RaykdError

DISK_FULL = "the disk is full: free space, or set lineage.keep: none; then run the same command again"
OUT_OF_MEMORY = (
    "out of memory: lower training.micro_batch_tokens, or selection.batch_tokens if it was scored, or share the model "
    "with compute.zero_stage 1 to 3, more workers and compute.offload: cpu; then run the same command again"
)
_SIGNS_OF_OUT_OF_MEMORY = re.compile(
    r"out of memory|can(?:'t|not) allocate memory|MemoryError|running low on memory|due to memory", re.IGNORECASE
)
"""As torch says it of a GPU and of a CPU, Python, and Ray of a process that its memory monitor killed. Of any death it
says that an "OOM killer" may have been the cause, which proves nothing."""


def plain_reason(error: BaseException) -> str:
    """One line on why something failed, out of all that Ray wrapped: an error of raykd, a lack that is known, or the
    innermost cause.
    """
    ours = error_of_raykd(error)
    if ours is not None:
        return "; ".join(ours.problems)
    causes = list(_causes(error))
    texts = ["".join(traceback.format_exception_only(cause)) for cause in causes]
    # When a worker dies, what its peers say of lost connections may come first.
    known = next(filter(None, map(_lack_in, texts)), None)
    return known or reason_in(texts[-1]) or type(causes[-1]).__name__


def error_of_raykd(error: BaseException) -> RaykdError | None:
    """The error of raykd among what Ray wrapped, if there is one."""
    return next((cause for cause in _causes(error) if isinstance(cause, RaykdError)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it wraps, the innermost cause of a worker group's first failure last."""
    wrapped = [getattr(error, name, None) for name in ("cause", "health_check_failure", "_base_exc", "__cause__")]
    wrapped += reversed(getattr(error, "worker_failures", {}).values())
    yield error
    for inner in wrapped:
        if isinstance(inner, BaseException):
            yield from _causes(inner)


def _lack_in(text: str) -> str | None:
    """What a traceback's text says was lacking, where that is known."""
    if os.strerror(errno.ENOSPC) in text or f"Errno {errno.ENOSPC}" in text:
        return DISK_FULL
    return OUT_OF_MEMORY if _SIGNS_OF_OUT_OF_MEMORY.search(text) else None


def reason_in(text: str) -> str | None:
    """One line out of a traceback's text; None where it is empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # A wrapped traceback is long; its first line says what, its last line why.
    return _lack_in(text) or (" ... ".join(dict.fromkeys([lines[0], lines[-1]])) if lines else None)
