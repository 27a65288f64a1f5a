"""Finished models, asked about texts that are no part of a sweep."""

from raykd.predict.load import Predictor, evaluate

__all__ = ["Predictor", "evaluate"]
