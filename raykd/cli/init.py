"""`raykd init`: a commented sweep file to start from."""

import argparse
import json
from pathlib import Path
from typing import Any

from raykd.cli.common import add_command
from raykd.errors import ConfigError
from raykd.results.words import file_name


def add(commands: Any) -> None:
    """The parser of `raykd init`."""
    init = add_command(
        commands,
        "init",
        help="write a commented sweep file to start from, ready to run",
        examples=["raykd init qa", "raykd init tagging --output tags.yaml"],
    )
    init.add_argument("task", metavar="TASK", help="the task, like qa; an unknown name lists all tasks")
    init.add_argument("--output", "-o", type=Path, metavar="FILE", help="output file (default: TASK.yaml)")
    init.add_argument("--force", action="store_true", help="overwrite an existing file")
    init.add_argument("--json", action="store_true", help="print a summary as JSON")
    init.set_defaults(run=_init)


def _init(options: argparse.Namespace) -> int:
    from raykd.tasks import TASKS

    if options.task not in TASKS:
        raise ConfigError(f"{options.task}: no such task; choose one of {', '.join(TASKS)}")
    file = options.output or Path(f"{options.task}.yaml")
    name = file_name(file.stem).lstrip("._-") or options.task
    try:
        with file.open("w" if options.force else "x", encoding="utf-8") as stream:
            stream.write(TASKS[options.task].info.starter(name=name))
    except FileExistsError as error:
        raise ConfigError(
            f"{file}: exists already; --force overwrites it, --output FILE writes another file"
        ) from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}; choose another file with --output") from error
    if options.json:
        print(json.dumps({"file": str(file), "name": name, "task": options.task}))
        return 0
    print(f"{file}: sweep {name}, task {options.task}, on built-in data. Next:")
    print(f"  raykd plan {file}     # show what it would run and cost")
    print(f"  raykd sweep {file}    # run or resume it")
    return 0
