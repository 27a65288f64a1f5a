"""What a sweep file can say: its sections, how it is read, and what is wrong with it."""

from raykd.config.base import Config, Schedule, Source, Weight, never_positive, weight_at
from raykd.config.load import json_schema, load_sweep, parse_value, sweep_of
from raykd.config.point import (
    BaseConfig,
    ComputeConfig,
    DataConfig,
    DistillationConfig,
    EvaluationConfig,
    LineageConfig,
    PointConfig,
    StudentConfig,
)
from raykd.config.sweep import Asha, Choice, Dimension, Grid, IntRange, LogUniform, SearchConfig, SweepConfig, Uniform
from raykd.config.trackers import MlflowConfig, TrackersConfig, WandbConfig
from raykd.config.training import Batching, LabelTraining, TrainingConfig

__all__ = [
    "Asha",
    "BaseConfig",
    "Batching",
    "Choice",
    "ComputeConfig",
    "Config",
    "DataConfig",
    "Dimension",
    "DistillationConfig",
    "EvaluationConfig",
    "Grid",
    "IntRange",
    "LabelTraining",
    "LineageConfig",
    "LogUniform",
    "MlflowConfig",
    "PointConfig",
    "Schedule",
    "SearchConfig",
    "Source",
    "StudentConfig",
    "SweepConfig",
    "TrackersConfig",
    "TrainingConfig",
    "Uniform",
    "WandbConfig",
    "Weight",
    "json_schema",
    "load_sweep",
    "never_positive",
    "parse_value",
    "sweep_of",
    "weight_at",
]
