import os
from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Path:
    """The folder of the published data sets, or a skip by name where RAYKD_DATA does not say where it is."""
    folder = os.environ.get("RAYKD_DATA")
    if not folder:
        pytest.skip("RAYKD_DATA is not set")
    return Path(folder)
