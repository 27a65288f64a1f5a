from pathlib import Path

import pytest
from support.finished_sweeps import finish
from support.tiny_sweeps import pair_point, point, tag_point

CONFIGS = {"qa": point, "tagging": tag_point, "parallel": pair_point}


@pytest.fixture(scope="session")
def sweep(tmp_path_factory):
    """Makes, once, a finished sweep of one tiny point of a task; `changes` are sections of it."""
    made: dict[str, Path] = {}

    def make(task: str, **changes: dict) -> Path:
        key = f"{task} {changes}"
        if key not in made:
            root = tmp_path_factory.mktemp(task)
            finish(root, CONFIGS[task](**changes))
            made[key] = root
        return made[key]

    return make
