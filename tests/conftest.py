import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Tiny models are slower on several threads. Tests that need no torch do not pay for its import here."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def real_data() -> Path:
    """The folder of the published data sets, or a skip by name where RAYKD_DATA does not say where it is."""
    folder = os.environ.get("RAYKD_DATA")
    if not folder:
        pytest.skip("RAYKD_DATA is not set")
    return Path(folder)


@pytest.fixture
def public_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty `public_hub.PublicHub` that the libraries of the Hub take for theirs, and an empty cache."""
    from support.public_hub import PublicHub, use_hub

    hub = PublicHub()
    use_hub(hub, tmp_path / "hf", monkeypatch)
    yield hub
    hub.stop()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Any]:
    """A `buckets.S3Server`; only tests that use it pay for its import."""
    from support.s3_server import S3Server

    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty folder in a bucket; credentials and address are in the environment."""
    import boto3
    import fsspec
    from support.s3_server import BUCKET

    for name, value in {**s3_server.environment, "RAYKD_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    # Clients that earlier tests made may know a connection that is no more.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return f"s3://{BUCKET}/{tmp_path.name}"
