"""A point's method in words."""

from collections.abc import Iterator

from raykd.config.base import Schedule, Weight
from raykd.config.identity import Identity
from raykd.config.point import PointBase
from raykd.results.words import counted
from raykd.tasks import task_of

_TEACHERS = {
    "snapshot": "the student of the previous generation",
    "best": "the student after its best epoch so far",
    "ensemble": "the mean of all generations so far",
    "fixed": "the first teacher",
}
_STARTS = {
    "previous": "trains on from the end of the last generation",
    "teacher": "starts from its teacher",
    "base": "starts from generation 0",
}


def method(config: PointBase) -> str:
    """One paragraph: which method, and how generations follow each other."""
    lineage = config.lineage
    length = f"{counted(lineage.num_generations, 'generation')} of {counted(lineage.epochs_per_generation, 'epoch')}"
    given = dict.fromkeys(Identity(config).given_teachers.values())
    first = " and ".join(f"`{name}`" for name in given) or "generation 0"
    paper = task_of(config).info.words.paper
    if not config.distillation.uses_teacher:
        return f"A baseline of {paper}: trained without a teacher, over {length}."
    words = f"{paper[0].upper()}{paper[1:]}, over {length}. "
    if lineage.num_generations == 1:
        return f"{words}Its teacher is {first}."
    return (
        f"{words}The teacher of generation 1 is {first}; later ones learn from {_TEACHERS[lineage.teacher]}. A student "
        f"{_STARTS[lineage.student_init]}."
    )


def knobs(config: PointBase) -> Iterator[str]:
    """The settings that a reader of the paper asks for, a line each."""
    label_weight, kd_weight = config.distillation.weights
    yield f"label term: weight {_weight(label_weight)}"
    if config.distillation.uses_teacher:
        yield f"KD term: weight {_weight(kd_weight)}; {task_of(config).info.words.teaching(config)}"
    if config.lineage.min_delta is not None:
        yield f"a student became teacher only if its dev score rose by {config.lineage.min_delta:g} points"
    training = config.training
    size = (
        f"{training.tokens_per_step} tokens" if training.tokens_per_step else f"{training.examples_per_step} examples"
    )
    yield (
        f"AdamW, peak learning rate {training.learning_rate:g}, {training.lr_schedule} schedule with "
        f"{training.warmup:.0%} warm-up, {size} a step"
    )
    yield f"seed {config.seed}"


def _weight(weight: Weight) -> str:
    if isinstance(weight, Schedule):
        over = "each generation" if weight.over == "generation" else "the lineage"
        return f"{weight.start:g} to {weight.end:g} ({weight.shape}, until {weight.until:g} of {over})"
    return f"{weight:g}"
