"""Task `tagging`: sequence labelling."""

from raykd.tasks.tagging.config import TaggingPoint
from raykd.tasks.tagging.reader import TaggingReader
from raykd.tasks.tagging.words import INFO
from raykd.tasks.task import Task, later

TAGGING = Task(
    info=INFO,
    point=TaggingPoint,
    data=TaggingReader(),
    load_model=later("raykd.tasks.tagging.model", "TaggingModel"),
    load_learning=later("raykd.tasks.tagging.learning", "TaggingLearning"),
    load_form=later("raykd.tasks.tagging.form", "TaggingForm"),
    load_predictor=later("raykd.tasks.tagging.predictor", "TaggingPredictor"),
    load_given_teachers=later("raykd.tasks.tagging.model", "TaggingTeachers"),
    labelled=TaggingReader(),
    evaluate=later("raykd.tasks.tagging.evaluate", "evaluate"),
)
