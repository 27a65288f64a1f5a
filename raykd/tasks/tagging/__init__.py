"""Task `tagging`: sequence labelling."""

from raykd.tasks.tagging.config import TaggingPoint
from raykd.tasks.tagging.data import TaggingReader
from raykd.tasks.tagging.words import INFO
from raykd.tasks.task import Task, TaskLearning, TaskModel


def _model() -> TaskModel:
    from raykd.tasks.tagging.model import TaggingModel

    return TaggingModel()


def _learning() -> TaskLearning:
    from raykd.tasks.tagging.learning import TaggingLearning

    return TaggingLearning()


_READER = TaggingReader()

TAGGING = Task(INFO, TaggingPoint, _READER, _model, _learning, labelled=_READER)
