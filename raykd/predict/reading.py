"""What a model folder is for, and how its sweep read texts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from raykd.errors import DataError
from raykd.models.encoder import SENTENCE_CONFIG
from raykd.models.qa import SPAN_HEAD
from raykd.models.tagging import HEAD_CONFIG

_MARKS = {HEAD_CONFIG: "tagging", SPAN_HEAD: "qa", SENTENCE_CONFIG: "parallel"}
_ORIGINS = ("raykd.json", "record.json")
"""Which hold a point's configuration: of an exported folder, and of an artifact."""


@dataclass(frozen=True)
class Reading:
    """How texts are cut, in tokens; `raykd evaluate` has the same values where a model says nothing.

    Attributes:
        max_length: of a window.
        stride: that neighbouring windows share.
        max_question_length: of a question; the rest of it is cut.
        max_answer_tokens: of an answer.
    """

    max_length: int = 384
    stride: int = 128
    max_question_length: int = 64
    max_answer_tokens: int = 30

    @classmethod
    def of(cls, folder: Path, *, limit: int) -> Self:
        """As the sweep that made a model read, or else the usual values, with windows of `limit` tokens at most."""
        point = next(filter(None, (_point_of(folder / name) for name in _ORIGINS)), {})
        sections = {**point.get("data", {}), **point.get("evaluation", {})}
        names = ("max_length", "stride", "max_question_length", "max_answer_tokens")
        found = {name: sections[name] for name in names if isinstance(sections.get(name), int)}
        if found:
            return cls(**found)
        most = min(cls.max_length, limit)
        return cls(most, min(cls.stride, most // 3), min(cls.max_question_length, most // 4))


def task_of(folder: Path) -> str:
    """The task of a model's folder: `qa`, `tagging`, or `parallel`, which stands for all encoders without a head.

    Raises:
        DataError: if it holds no model, or one that is for something else.
    """
    for name, task in _MARKS.items():
        if (folder / name).is_file():
            return task
    path = folder / "config.json"
    try:
        kinds = json.loads(path.read_text(encoding="utf-8")).get("architectures") or []
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a model's configuration ({error}); give a model folder") from error
    if any("ForQuestionAnswering" in kind for kind in kinds):
        return "qa"
    if any("ForTokenClassification" in kind for kind in kinds):
        raise DataError(
            f"{folder}: a token classifier without {HEAD_CONFIG}, which says how pieces become words; give a model of "
            "a tagging sweep, or one that raykd exported"
        )
    return "parallel"


def _point_of(path: Path) -> dict[str, Any]:
    """The configuration in a file of ours; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); make the folder again") from error
    found = found.get("content", found) if isinstance(found, dict) else {}
    point = found.get("point") if isinstance(found, dict) else None
    return point if isinstance(point, dict) else {}
