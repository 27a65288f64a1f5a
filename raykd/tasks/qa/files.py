"""Files of questions that a model is asked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raykd.data.lines import read_lines
from raykd.data.problems import all_at_once, short
from raykd.data.squad import read_squad
from raykd.errors import DataError


@dataclass(frozen=True)
class Question:
    """A question about a context."""

    id: str
    question: str
    context: str


def read_questions(path: Path) -> list[Question]:
    """The questions of a file; its suffix says how it is written, always in UTF-8.

    `.json` is SQuAD's form, with or without answers; `.jsonl` has an object with `question`, `context` and perhaps `id`
    in each line; `.tsv` has columns question and context, or those that a first line names.

    Raises:
        DataError: if the file cannot be read, is of another form, or no questions; all that is wrong at once.
    """
    if path.suffix == ".json":
        examples = read_squad(path, question_language="und", context_language="und", answers="ignored")
        return [Question(each.id, each.question, each.context) for each in examples]
    readers = {".jsonl": _from_json_lines, ".tsv": _from_columns}
    if path.suffix not in readers:
        raise DataError(
            f"{path}: unknown suffix; questions are read from .json (SQuAD), .jsonl or .tsv (question and context)"
        )
    with all_at_once() as problems:
        lines = read_lines(path, problems)
        found = readers[path.suffix](lines, str(path), problems)
        for number, question in enumerate(found, 1):
            if not question.context.strip():
                problems.append(f"{path}: question {number}: the context is empty")
        if not found and not problems:
            problems.append(f"{path}: no questions")
    return found


def _from_json_lines(lines: Sequence[str], source: str, problems: list[str]) -> list[Question]:
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.append(f"{source}: line {number}: not JSON: {getattr(error, 'msg', error)}")
            continue
        texts = [row.get(key) for key in ("question", "context")] if isinstance(row, dict) else [None]
        if not all(isinstance(text, str) and _is_whole(text) for text in texts):
            problems.append(f"{source}: line {number}: needs texts `question` and `context`, got {short(row)}")
            continue
        found.append(Question(str(row.get("id", number)), *texts))
    return found


def _from_columns(lines: Sequence[str], source: str, problems: list[str]) -> list[Question]:
    names = lines[0].split("\t") if lines else []
    has_names = {"question", "context"} <= set(names)
    places = [names.index(name) for name in ("question", "context")] if has_names else [0, 1]
    found = []
    for number, line in enumerate(lines[has_names:], 1 + has_names):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) <= max(places):
            problems.append(
                f"{source}: line {number}: need a question, a tab and a context, got {short(line)}; the first line "
                "may name the columns"
            )
            continue
        at = names.index("id") if has_names and "id" in names else None
        name = str(number) if at is None or at >= len(cells) else cells[at]
        found.append(Question(name, *(cells[place] for place in places)))
    return found


def _is_whole(text: str) -> bool:
    """Whether the text has no half of a surrogate pair, which JSON lets through and no tokenizer can read."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
