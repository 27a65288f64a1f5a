"""Answers and labels of a finished model, for texts that are no part of a sweep."""

from raykd.predict.predictor import Answer, Entity, Labelled, Predictor

__all__ = ["Answer", "Entity", "Labelled", "Predictor"]
