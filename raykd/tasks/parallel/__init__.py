"""Task `parallel`: multi-level distillation on parallel text."""

from raykd.tasks.parallel.config import ParallelPoint
from raykd.tasks.parallel.data import ParallelReader
from raykd.tasks.parallel.words import INFO
from raykd.tasks.task import Task, later

PARALLEL = Task(
    info=INFO,
    point=ParallelPoint,
    data=ParallelReader(),
    load_model=later("raykd.tasks.parallel.model", "ParallelModel"),
    load_learning=later("raykd.tasks.parallel.learning", "ParallelLearning"),
    load_form=later("raykd.tasks.parallel.form", "EncoderForm"),
    load_given_teachers=later("raykd.tasks.parallel.model", "EnglishTeacher"),
    evaluate=later("raykd.tasks.parallel.evaluate", "evaluate"),
)
