"""`raykd init`: a commented sweep file to start from."""

import argparse
import json
from pathlib import Path
from typing import Any

from raykd.errors import ConfigError
from raykd.results.words import file_name


def add(commands: Any) -> None:
    """The parser of `raykd init`."""
    init = commands.add_parser("init", help="write a commented sweep file to start from, which runs as it stands")
    init.add_argument("task", metavar="TASK", help="what is to be learned")
    init.add_argument("--output", "-o", type=Path, metavar="FILE", help="where to write it (default: TASK.yaml)")
    init.add_argument("--force", action="store_true", help="replace a file that is there")
    init.add_argument("--json", action="store_true", help="say as JSON what was written")
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
        raise ConfigError(f"{file}: is there already; --force replaces it, --output FILE writes another") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}; name another by --output") from error
    if options.json:
        print(json.dumps({"file": str(file), "name": name, "task": options.task}))
        return 0
    print(f"{file}: sweep {name}, task {options.task}, on built-in data. Next:")
    print(f"  raykd plan {file}     # what it would run and cost")
    print(f"  raykd sweep {file}    # run it, or go on with it")
    return 0
