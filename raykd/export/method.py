"""A point's method in words."""

from collections.abc import Iterator

from raykd.config.base import Schedule, Weight
from raykd.config.point import PointConfig

_PAPERS = {
    "qa": "self-distillation of extractive question answering across languages "
    "([arXiv:2309.17134](https://arxiv.org/abs/2309.17134))",
    "tagging": "structure-level distillation of sequence labelling "
    "([arXiv:2004.03846](https://arxiv.org/abs/2004.03846))",
    "parallel": "multi-level distillation on parallel text ([arXiv:2211.01200](https://arxiv.org/abs/2211.01200))",
}
_TEACHERS = {
    "snapshot": "the student as it stood when the generation began",
    "best": "the student after its best epoch so far",
    "ensemble": "the mean of all generations so far",
    "fixed": "the first teacher",
}
_STARTS = {
    "previous": "goes on where the last generation ended",
    "teacher": "starts from its teacher",
    "base": "starts again from generation 0",
}
_COEFFICIENTS = {
    "constant": "",
    "map_at_k": ", weighted for each example by the teacher's average precision at {k}",
    "reciprocal_rank": ", weighted for each example by the reciprocal rank of the teacher's first hit in {k}",
}


def method(config: PointConfig) -> str:
    """One paragraph: which method, and how generations follow each other."""
    lineage = config.lineage
    length = f"{counted(lineage.num_generations, 'generation')} of {counted(lineage.epochs_per_generation, 'epoch')}"
    first = {"parallel": f"`{config.teacher.model}`"}.get(config.task, "generation 0")
    if not config.distillation.uses_teacher:
        return f"A baseline of {_PAPERS[config.task]}: trained without a teacher, over {length}."
    words = f"{_PAPERS[config.task][0].upper()}{_PAPERS[config.task][1:]}, over {length}. "
    if lineage.num_generations == 1:
        return f"{words}Its teacher is {first}."
    return (
        f"{words}The teacher of generation 1 is {first}; later ones learn from {_TEACHERS[lineage.teacher]}. A student "
        f"{_STARTS[lineage.student_init]}."
    )


def knobs(config: PointConfig) -> Iterator[str]:
    """The settings that a reader of the paper asks for, a line each."""
    label_weight, kd_weight = config.distillation.weights
    yield f"label term: weight {_weight(label_weight)}"
    if config.distillation.uses_teacher:
        yield f"KD term: weight {_weight(kd_weight)}; {_kd(config)}"
    if config.lineage.min_delta is not None:
        yield f"a student became teacher only where its dev score rose by {config.lineage.min_delta:g} points"
    training = config.training
    size = (
        f"{training.tokens_per_step} tokens" if training.tokens_per_step else f"{training.examples_per_step} examples"
    )
    yield (
        f"AdamW, peak learning rate {training.learning_rate:g}, {training.lr_schedule} schedule with "
        f"{training.warmup:.0%} warm-up, {size} a step"
    )
    yield f"seed {config.seed}"


def counted(number: int, word: str) -> str:
    """A number and its noun."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def _kd(config: PointConfig) -> str:
    distillation = config.distillation
    if config.task == "qa":
        direction = distillation.direction.replace("_kl", " KL")
        weighted = _COEFFICIENTS[distillation.coefficient].format(k=distillation.k)
        return f"{direction} of start and end at temperature {distillation.temperature:g}{weighted}"
    if config.task == "tagging":
        paths = f", {distillation.k} paths" if "top" in config.objective else ""
        return f"objective {config.objective}{paths}, temperature {distillation.temperature:g}"
    parts = distillation.multilevel
    each = [f"{name} {getattr(parts, f'{name}_weight'):g}" for name in ("word", "sentence", "structure")]
    return f"weights of its levels: {', '.join(each)}"


def _weight(weight: Weight) -> str:
    if isinstance(weight, Schedule):
        return f"{weight.start:g} to {weight.end:g} ({weight.shape}, until {weight.until:g} of the lineage)"
    return f"{weight:g}"
