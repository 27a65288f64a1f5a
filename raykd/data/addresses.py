"""Files at addresses, and members of archives: fetched once into a cache, by the hash of where they are.

    https://host/file.tsv            any address that fsspec knows
    archive.zip!folder/member.json   a member of a local archive, or of one at an address
    zip://member::https://host/a.zip the same, as fsspec writes it

What is in the cache is never fetched again, so a run without a network reads it. A cached file is complete: it gets its
name when its last byte is there.
"""

import contextlib
import hashlib
import logging
import re
import shutil
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

from raykd.data.hub import LARGE, cache_home, near
from raykd.errors import DataError

log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_LOCK_SECONDS = 5
"""Until it is said that another process is waited for."""
_ATTEMPTS, _FIRST_PAUSE, _LONGEST_PAUSE, _SILENCE = 6, 0.5, 60.0, 30.0
_BUSY = {408, 429, 500, 502, 503, 504}
_FSSPEC_MEMBER = re.compile("zip://(?P<member>.*?)::(?P<archive>.+)")


def split_member(path: str) -> tuple[str, str | None]:
    """The archive and the member in it that a path names; the path itself and None where it names no member."""
    if found := _FSSPEC_MEMBER.fullmatch(path):
        return found["archive"], found["member"]
    archive, mark, member = path.partition(".zip!")
    return (f"{archive}.zip", member) if mark else (path, None)


def is_address(path: str) -> bool:
    """Whether a path is not one of this machine."""
    return "://" in path


def fetched(address: str) -> Path:
    """The file at an address, out of the cache or downloaded into it; several processes download it once.

    Raises:
        DataError: if it cannot be had; says why and what to do.
    """
    return _once(address, address.partition("?")[0], lambda part: _download(address, part))


def member_of(archive: Path, member: str, *, name: str) -> Path:
    """A member of a zip archive as a file, unpacked once for each state of the archive.

    Args:
        name: what the user calls the archive.

    Raises:
        DataError: if the archive cannot be read, or has no such member; names members that are near.
    """
    try:
        state = archive.stat()
        with zipfile.ZipFile(archive) as opened:
            if member not in (known := opened.namelist()):
                raise DataError(f"{name}: not found: no member {member}{near(member, known)}; correct the path")

            def unpack(part: Path) -> None:
                with opened.open(member) as source, part.open("wb") as target:
                    shutil.copyfileobj(source, target, _CHUNK)

            return _once(f"{archive.resolve()} {state.st_size} {state.st_mtime_ns} {member}", member, unpack)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{name}: cannot be read as a zip archive ({error}); fetch it again") from error


def _once(key: str, named: str, make: Callable[[Path], None]) -> Path:
    """The cached file of a key, made under a lock if it is not there.

    Args:
        named: the file's own name is the last part of it, for its ending and for messages.
        make: writes it to the given path, of which a part may be there already.
    """
    from filelock import FileLock, Timeout

    name = re.sub(r"[^\w.\-]+", "_", named.rstrip("/").rpartition("/")[2])[-100:] or "file"
    place = cache_home() / "files" / hashlib.sha256(key.encode()).hexdigest()[:32] / name
    if place.is_file():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.parent / "lock")
    try:
        lock.acquire(timeout=_LOCK_SECONDS)
    except Timeout:
        log.warning("%s: another process fetches it; waiting for that (lock %s)", name, lock.lock_file)
        lock.acquire()
    try:
        if not place.is_file():
            part = place.with_name(f"{name}.part")
            make(part)
            part.replace(place)
    finally:
        lock.release()
    return place


def _download(address: str, part: Path) -> None:
    from huggingface_hub.constants import is_offline_mode

    if is_offline_mode():
        raise DataError(
            f"{address}: not in the cache, and HF_HUB_OFFLINE is set; unset it once to download the file, or give a "
            "local path"
        )
    if not address.startswith(("http://", "https://")):
        _copy(address, part)
        return
    pause, reason = _FIRST_PAUSE, ""
    for attempt in range(1, _ATTEMPTS + 1):
        before = part.stat().st_size if part.exists() else 0
        wait: float | None = None
        try:
            _take_up(address, part)
            return
        except urllib.error.HTTPError as error:
            reason, wait = f"status {error.code} {error.reason}", _seconds(error.headers.get("Retry-After"))
            if error.code == 416:
                # What is here is longer than what is there: the file was replaced.
                part.unlink(missing_ok=True)
            elif error.code not in _BUSY:
                remedy = "check the address" if error.code in (404, 410) else "download it yourself, and give its path"
                raise DataError(f"{address}: not given ({reason}); {remedy}") from error
        except (OSError, HTTPException) as error:
            reason = str(error) or type(error).__name__
        wait = pause if wait is None else wait
        if attempt == _ATTEMPTS or wait > _LONGEST_PAUSE:
            break
        log.warning("%s: %s; going on in %g s", address, reason, wait)
        time.sleep(wait)
        # A file that grows may be cut off as often as it likes.
        pause = _FIRST_PAUSE if part.exists() and part.stat().st_size > before else min(2 * pause, _LONGEST_PAUSE)
    raise DataError(
        f"{address}: cannot be downloaded ({reason}); run the same command again, it goes on where it was cut off"
    )


def _take_up(address: str, part: Path) -> None:
    """Append what is missing of a file, or begin again where the server knows no ranges.

    Raises:
        OSError, HTTPException: if it was cut off, or refused.
    """
    # Without a mark of its state, a file may have been replaced since it was cut off: then it begins again.
    mark = part.with_suffix(".mark")
    have = part.stat().st_size if part.exists() and mark.exists() else 0
    headers = {"Range": f"bytes={have}-", "If-Range": mark.read_text(encoding="utf-8")} if have else {}
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=_SILENCE) as answer:
        goes_on = answer.status == 206
        length = answer.headers.get("Content-Length")
        total = int(length) + (have if goes_on else 0) if length else None
        if state := answer.headers.get("ETag") or answer.headers.get("Last-Modified"):
            mark.write_text(state, encoding="utf-8")
        else:
            mark.unlink(missing_ok=True)
        with part.open("ab" if goes_on else "wb") as target, _shown(address, total) as bar:
            bar.update(target.tell())
            while chunk := answer.read(_CHUNK):
                target.write(chunk)
                bar.update(len(chunk))
            done = target.tell()
    if total is not None and done != total:
        raise ConnectionError(f"cut off after {done} of {total} bytes")


def _copy(address: str, part: Path) -> None:
    import fsspec

    try:
        with fsspec.open(address, "rb") as source, part.open("wb") as target:
            size = getattr(source, "size", None)
            with _shown(address, size) as bar:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    bar.update(len(chunk))
    # ValueError: a kind of address that is not known. ImportError: one whose library is not installed.
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(
            f"{address}: cannot be downloaded ({type(error).__name__}: {reason}); check the address and credentials"
        ) from error


@contextlib.contextmanager
def _shown(address: str, total: int | None) -> Iterator[Any]:
    """A bar on stderr for a large file, on a terminal alone."""
    from huggingface_hub.utils import tqdm

    is_small = total is not None and total < LARGE
    with tqdm(
        total=total, unit="B", unit_scale=True, desc=address.rpartition("/")[2][-40:], disable=is_small or None
    ) as bar:
        yield bar


def _seconds(after: str | None) -> float | None:
    return float(after) if after and after.isdigit() else None
