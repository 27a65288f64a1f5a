"""`raykd schema`: the JSON schema of a sweep file."""

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    """The parser of `raykd schema`."""
    schema = commands.add_parser("schema", help="print the JSON schema of a sweep file")
    schema.add_argument("--json", action="store_true", help="print it as JSON, which it always is")
    schema.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    from raykd.plan.file import json_schema

    print(json.dumps(json_schema(), indent=1))
    return 0
