"""Runs a sweep: the shared artifacts first, then one Ray Tune trial per point. The only room that knows ray.tune."""

from raykd.sweep.recorder import Progress
from raykd.sweep.runner import Outcome, run_sweep

__all__ = ["Outcome", "Progress", "run_sweep"]
