from pathlib import Path

import pytest
from support.points import sharing

from raykd.worker.context import WorkerContext


@pytest.fixture
def context(prepared: Path, tmp_path: Path) -> WorkerContext:
    """A results folder of the test's own, sharing what the points of its file share: each has a `prepared`."""
    return sharing(prepared, tmp_path)
