"""How a sweep stands at this moment, out of its folder alone: right at any moment of a run, wherever that runs."""

from raykd.status.point import OVER, PointStatus
from raykd.status.reader import StatusReader, read_status
from raykd.status.sweep import STATES, Best, Run, SweepStatus

__all__ = ["OVER", "STATES", "Best", "PointStatus", "Run", "StatusReader", "SweepStatus", "read_status"]
