"""`python -m raykd` is the command `raykd`."""

from raykd.cli import run

run()
