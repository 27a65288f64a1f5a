"""Task `parallel`: multi-level distillation on parallel text."""

from raykd.tasks.parallel.config import ParallelPoint
from raykd.tasks.parallel.data import ParallelReader
from raykd.tasks.parallel.words import INFO
from raykd.tasks.task import GivenTeachers, Task, TaskLearning, TaskModel


def _model() -> TaskModel:
    from raykd.tasks.parallel.model import ParallelModel

    return ParallelModel()


def _learning() -> TaskLearning:
    from raykd.tasks.parallel.learning import ParallelLearning

    return ParallelLearning()


def _given_teachers() -> GivenTeachers:
    from raykd.tasks.parallel.model import EnglishTeacher

    return EnglishTeacher()


PARALLEL = Task(INFO, ParallelPoint, ParallelReader(), _model, _learning, load_given_teachers=_given_teachers)
