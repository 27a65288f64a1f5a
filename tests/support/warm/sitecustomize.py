"""Python reads this when it starts with this folder on its path: a worker of Ray is then forked, not started."""

import sys

if len(sys.orig_argv) > 1 and sys.orig_argv[1].endswith("/setup_worker.py"):
    from warm_workers import ask

    ask(sys.orig_argv[2:])
