"""What names a place of results: a folder, or the URL of one on an object store."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from raykd.errors import ConfigError

CACHE_VARIABLE = "RAYKD_CACHE"
SCHEMES = {"s3": "s3", "gs": "gcs"}
"""Scheme of a URL -> the extra of raykd that brings its file system."""


def location(text: str | Path) -> Path | str:
    """A place of results as a file or a command line names it.

    Returns:
        A path, or the URL of an object store without a slash at its end.

    Raises:
        ConfigError: if it is a URL of another kind, one without a bucket, or one that carries more than a place.
    """
    if isinstance(text, Path) or "://" not in text:
        return Path(text)
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES:
        raise ConfigError(f"{scheme}://...: use a folder, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER")
    bucket, _, folder = rest.rstrip("/").partition("/")
    if not bucket or not folder or any(part in ("", ".", "..") for part in folder.split("/")):
        raise ConfigError(f"{scheme}://...: give a bucket and a folder in it: {scheme}://BUCKET/FOLDER")
    if any(mark in rest for mark in "@?#"):
        # It would stand in records and logs.
        raise ConfigError(f"{scheme}://...: no credentials or options in the URL; set them in the environment")
    return f"{scheme}://{bucket}/{folder}"


def resolved(root: Path | str) -> Path | str:
    """The same place, named alike from every working folder."""
    return root.resolve() if isinstance(root, Path) else root


def machine_folder(root: str) -> Path:
    """This machine's own folder for copies of what lies on an object store, below RAYKD_CACHE or the temporary folder.

    Raises:
        ConfigError: if somebody else could have put files there.
    """
    base = Path(os.environ.get(CACHE_VARIABLE) or tempfile.gettempdir()) / f"raykd-{os.getuid()}"
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ConfigError(f"{base}: others can write to it; remove it, or set {CACHE_VARIABLE} to a folder of yours")
    folder = base / hashlib.sha256(root.encode()).hexdigest()[:16]
    folder.mkdir(exist_ok=True)
    return folder
