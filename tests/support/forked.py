"""Processes that are forked from a warm one: importing torch and what builds on it takes seconds in each.

They begin with the environment of the warm process: what a test set is to be handed over.
"""

import multiprocessing
from multiprocessing.context import ForkServerContext

CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["raykd.worker.point", "raykd.worker.prepare"])
