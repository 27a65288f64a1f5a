"""Sweep files to start from, one for each task, with a comment on every key that matters."""

from importlib.resources import files
from typing import get_args

from raykd.config.point import PointConfig

TASKS: tuple[str, ...] = get_args(PointConfig.model_fields["task"].annotation)


def starter(task: str, *, name: str) -> str:
    """The text of a sweep file for one of `TASKS` that runs as it stands, on data that raykd generates itself.

    Args:
        name: the sweep's; it names the folder of its results.
    """
    text = files(__package__).joinpath(f"{task}.yaml").read_text(encoding="utf-8")
    return text.replace("name: NAME\n", f"name: {name}\n", 1)
