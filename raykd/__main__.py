"""`python -m raykd` is the command `raykd`."""

import sys

from raykd.cli import main

sys.exit(main())
