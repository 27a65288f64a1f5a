"""The commands. The only room that prints or exits; what is heavy is imported inside the command that needs it."""

import argparse
import errno
import logging
import sys
from collections.abc import Sequence

from raykd import __version__
from raykd.cli import (
    doctor,
    evaluate,
    export,
    gc,
    init,
    leaderboard,
    logs,
    plan,
    predict,
    report,
    schema,
    status,
    submit,
    sweep,
    test,
)
from raykd.cli.common import INTERRUPTED
from raykd.errors import RaykdError

COMMANDS = (
    *(doctor, init, plan, sweep, status, logs, submit),
    *(leaderboard, test, report, export, predict, evaluate, gc, schema),
)
"""Modules that add one command each, or two that belong together, in the order of the help text."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 1 where something failed while running, 2 where nothing was started."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # argparse cannot hand on what follows a "--" with options before it.
    end = arguments.index("--") if arguments[:1] == ["submit"] and "--" in arguments else len(arguments)
    options = parser().parse_args(arguments[:end])
    options.sweep_options = arguments[end + 1 :]
    logging.basicConfig(
        level=logging.INFO if getattr(options, "verbose", False) else logging.ERROR,
        format="%(levelname)s %(name)s: %(message)s",
    )
    # A download may wait for minutes, and says for what.
    logging.getLogger("raykd.data").setLevel(logging.NOTSET if getattr(options, "verbose", False) else logging.WARNING)
    try:
        return options.run(options)
    except RaykdError as error:
        for line in error.problems:
            print(f"raykd: {line}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("raykd: the disk is full: free space, then run the same command again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("raykd: interrupted; run the same command again to resume", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="raykd",
        description="Distil multilingual models over generations on a Ray cluster.",
        epilog="examples:\n  raykd init qa\n  raykd plan qa.yaml\n  raykd sweep qa.yaml\n  raykd report runs/qa",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"raykd {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    return top


def run() -> None:
    """The console script."""
    sys.exit(main())
