"""TensorBoard, MLflow and Weights & Biases: told of every point, one run for each, by the process that runs the sweep.

The journal is the truth: a tracker is told what the journal has and it has not, at whatever moment. So a tracker that
was away, or a sweep that was killed, leaves no gap and nothing twice.
"""

from raykd.trackers.trackers import Trackers, check_trackers

__all__ = ["Trackers", "check_trackers"]
