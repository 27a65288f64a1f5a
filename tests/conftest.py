import os
import sys
from pathlib import Path

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
