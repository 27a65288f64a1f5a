"""A Hub on loopback, and an empty cache for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.public_hub import PublicHub, use_hub


@pytest.fixture
def public_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublicHub]:
    """An empty Hub that the libraries of the Hub take for theirs."""
    hub = PublicHub()
    use_hub(hub, tmp_path / "hf", monkeypatch)
    yield hub
    hub.stop()
