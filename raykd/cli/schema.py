"""`raykd schema`: the JSON schema of a sweep file."""

import argparse
import json
from typing import Any

from raykd.cli.common import add_command


def add(commands: Any) -> None:
    """The parser of `raykd schema`."""
    schema = add_command(
        commands,
        "schema",
        help="print the JSON schema of a sweep file",
        examples=["raykd schema"],
    )
    schema.add_argument("--json", action="store_true", help="always JSON")
    schema.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    from raykd.plan.file import json_schema

    print(json.dumps(json_schema(), indent=1))
    return 0
