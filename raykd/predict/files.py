"""Files of questions, and of sentences, that a model is asked about."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raykd.data.conll import read_conll
from raykd.data.lines import read_lines
from raykd.data.problems import all_at_once, short
from raykd.data.squad import read_squad
from raykd.data.tag_format import TagFormat
from raykd.errors import DataError

_COLUMNS = {".conll": 0, ".conllu": 1, ".iob": 0, ".bio": 0, ".tsv": 0}
"""Suffix of a file with a word in each line -> the column of the words."""


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
        DataError: if the file cannot be read, is of another form, or holds no question; all that is wrong at once.
    """
    if path.suffix == ".json":
        examples = read_squad(path, question_language="und", context_language="und", with_answers=False)
        return [Question(each.id, each.question, each.context) for each in examples]
    readers = {".jsonl": _from_json_lines, ".tsv": _from_columns}
    if path.suffix not in readers:
        raise DataError(
            f"{path}: its form is not known by its suffix; questions come as .json (SQuAD), .jsonl or .tsv "
            "(question and context)"
        )
    with all_at_once() as problems:
        lines = read_lines(path, problems)
        found = readers[path.suffix](lines, str(path), problems)
        for number, question in enumerate(found, 1):
            if not question.context.strip():
                problems.append(f"{path}: question {number}: the context is empty")
        if not found and not problems:
            problems.append(f"{path}: holds no question")
    return found


def read_sentences(path: Path) -> list[tuple[str, ...]]:
    """The sentences of a UTF-8 file, as words.

    `.conll`, `.tsv`, `.iob`, `.bio` and `.conllu` have a word in each line, its columns parted by tabs or spaces, and
    empty lines between sentences. Of any other file each line is a sentence, its words parted by white space.

    Raises:
        DataError: if the file cannot be read or holds no sentence.
    """
    if path.suffix in _COLUMNS:
        words = TagFormat(word_column=_COLUMNS[path.suffix], tag_column=None)
        return [sentence.words for sentence in read_conll(path, language="und", tag_format=words).sentences]
    with all_at_once() as problems:
        found = [tuple(line.split()) for line in read_lines(path, problems)]
        found = [words for words in found if words]
        if not found and not problems:
            problems.append(f"{path}: holds no sentence")
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
                f"{source}: line {number}: needs a question, a tab and a context, got {short(line)}; a first line may "
                "name the columns"
            )
            continue
        at = names.index("id") if has_names and "id" in names else None
        name = str(number) if at is None or at >= len(cells) else cells[at]
        found.append(Question(name, *(cells[place] for place in places)))
    return found


def _is_whole(text: str) -> bool:
    """Whether the text has no half of a surrogate pair, which JSON lets through and no tokenizer can read."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
