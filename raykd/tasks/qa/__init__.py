"""Task `qa`: extractive question answering across languages."""

from raykd.tasks.qa.config import PRESETS, QaPoint
from raykd.tasks.qa.data import QaReader
from raykd.tasks.qa.words import INFO
from raykd.tasks.task import Task, later

QA = Task(
    info=INFO,
    point=QaPoint,
    data=QaReader(),
    load_model=later("raykd.tasks.qa.model", "QaModel"),
    load_learning=later("raykd.tasks.qa.learning", "QaLearning"),
    load_given_teachers=later("raykd.tasks.qa.model", "QaTeachers"),
    load_form=later("raykd.tasks.qa.form", "QaForm"),
    load_predictor=later("raykd.tasks.qa.predictor", "QaPredictor"),
    evaluate=later("raykd.tasks.qa.evaluate", "evaluate"),
    labelled=QaReader(),
    presets=PRESETS,
)
