"""Task `qa`: extractive question answering across languages."""

from raykd.tasks.qa.config import PRESETS, QaPoint
from raykd.tasks.qa.data import QaReader
from raykd.tasks.qa.words import INFO
from raykd.tasks.task import Task, TaskLearning, TaskModel


def _model() -> TaskModel:
    from raykd.tasks.qa.model import QaModel

    return QaModel()


def _learning() -> TaskLearning:
    from raykd.tasks.qa.learning import QaLearning

    return QaLearning()


_READER = QaReader()

QA = Task(INFO, QaPoint, _READER, _model, _learning, labelled=_READER, presets=PRESETS)
