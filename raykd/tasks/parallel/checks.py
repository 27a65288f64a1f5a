"""Whether an encoder can be a student or a teacher of the parallel task, by what its folder holds."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from raykd.errors import DataError
from raykd.models.encoder import vector_size
from raykd.models.masked_head import has_masked_head
from raykd.models.qa import load_tokenizer
from raykd.tasks.parallel.config import ParallelPoint, no_own_head
from raykd.tasks.parallel.windows import check_student
from raykd.tasks.word_pieces import frame_tokens


def check_models(configs: Iterable[ParallelPoint], *, locate: Callable[[str], str]) -> None:
    """Read tokenizers and configurations of the models that are folders here; the others say it when they are loaded.

    Weights are read only of a model that must have a masked-token head.

    Args:
        locate: the folder of a model by its name, or the name where that is a Hub id.

    Raises:
        DataError: with all that is wrong, over all points.
    """
    problems: dict[str, None] = {}
    tokenizers: dict[str, PreTrainedTokenizerFast | None] = {}
    sizes: dict[str, int | None] = {}
    heads: dict[str, bool | None] = {}

    def attempt(check: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return check(*arguments, **options)
        except DataError as error:
            problems.update(dict.fromkeys(error.problems))
            return None

    def tokenizer_of(model: str) -> PreTrainedTokenizerFast | None:
        if model not in tokenizers:
            tokenizers[model] = attempt(load_tokenizer, model)
        return tokenizers[model]

    for config in configs:
        student = _folder_of(config.base.model, locate)
        teacher = _folder_of(config.teacher.model, locate) if config.distillation.uses_teacher else None
        if student and (tokenizer := tokenizer_of(student)):
            attempt(check_student, tokenizer, max_length=config.data.max_length)
            attempt(frame_tokens, tokenizer)
        if student and config.needs_own_head:
            if student not in heads:
                heads[student] = attempt(has_masked_head, student)
            if heads[student] is False:
                problems[no_own_head(config.base.model)] = None
        if teacher and (tokenizer := tokenizer_of(teacher)):
            attempt(frame_tokens, tokenizer)
        for model in filter(None, (teacher, student)):
            if model not in sizes:
                sizes[model] = attempt(vector_size, model)
        if teacher and student and sizes[teacher] and sizes[student]:
            attempt(check_sizes, config, teacher=sizes[teacher], student=sizes[student])
    if problems:
        raise DataError(problems)


def check_sizes(config: ParallelPoint, *, teacher: int, student: int) -> None:
    """Refuse later teachers, which are students, with vectors of another size than the first one's.

    Raises:
        DataError: naming both sizes.
    """
    later = config.lineage.num_generations > 1 and config.lineage.teacher != "fixed"
    if config.levels and later and teacher != student:
        raise DataError(
            f"lineage.teacher {config.lineage.teacher}: vectors of {config.teacher.model} have {teacher} numbers, "
            f"those of students {student}; use lineage.teacher fixed, or a teacher with vectors of their size"
        )


def _folder_of(model: str, locate: Callable[[str], str]) -> str | None:
    """Where a model lies; None if it is built in, not a folder, or nowhere, which is said elsewhere."""
    if model.startswith("builtin:"):
        return None
    try:
        place = locate(model)
    except DataError:
        return None
    return place if Path(place).is_dir() else None
