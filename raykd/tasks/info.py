"""What a task is called, and the words that commands, reports and model cards have for it. Needs no torch."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from raykd.tasks.outcomes import Scores

CellLanguages = tuple[str | None, str | None, str | None]
"""Of a cell: the language of its questions, of its contexts, or its single one."""


def _of_one_language(languages: Iterable[str], cell: str) -> CellLanguages:
    return None, None, cell


@dataclass(frozen=True)
class Words:
    """What a model card and a report say of a task.

    Attributes:
        does: what a model of it does, the beginning of a sentence.
        paper: the method with a link, in the middle of a sentence.
        items: what a budget counts.
        scored: what samples for scoring count.
        pipeline: what transformers calls the task.
        teaching: how the teacher's knowledge enters the loss of a point, in words.
        limits: what a user of a point's model should know, a sentence each.
        score_notes: paragraphs under the scores of a point, given its configuration and its scores.
    """

    does: str
    paper: str
    items: str
    scored: str
    pipeline: str
    teaching: Callable[[Any], str]
    limits: Callable[[Any], Iterable[str]]
    score_notes: Callable[[Any, Scores], Iterable[str]] = lambda config, scores: ()


@dataclass(frozen=True)
class Folders:
    """By what a model folder of a task is known.

    Attributes:
        files: one of these is there.
        architectures: parts of the names of transformers' classes.
        refused: likewise, of models that look as if they were of the task -> why they are not.
        any_encoder: whether every other model is taken for one of the task.
    """

    files: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    any_encoder: bool = False


@dataclass(frozen=True)
class Info:
    """What a task is called.

    Attributes:
        name: the word in a sweep file's `task`.
        title: what it is called in a sentence.
        read_starter: the text of the file that `raykd init` writes, with `name: NAME`.
        folders: by what a model folder of it is known.
        passes: passes through the model that a training example takes, for an estimate.
        cell_languages: languages that are scored, and the name of a cell -> the languages of the cell.
    """

    name: str
    title: str
    read_starter: Callable[[], str]
    words: Words
    folders: Folders = Folders()
    passes: int = 1
    cell_languages: Callable[[Iterable[str], str], CellLanguages] = _of_one_language

    def starter(self, *, name: str) -> str:
        """The text of a sweep file that runs as it stands, on data that raykd generates itself.

        Args:
            name: the sweep's; it names the folder of its results.
        """
        return self.read_starter().replace("name: NAME\n", f"name: {name}\n", 1)


def starter_in(package: str) -> Callable[[], str]:
    """Reads `starter.yaml` of a task's package."""
    return lambda: files(package).joinpath("starter.yaml").read_text(encoding="utf-8")
