"""Readers of extractive question answering in SQuAD form: SQuAD 1.1 and 2.0, XQuAD, MLQA, TyDiQA-GoldP.

A reader finds every problem of all its files before it gives up. It repairs nothing: every answer of the published
XQuAD and MLQA dev files lies exactly at its offset, counted in characters, so a deviation is a damaged file.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import Any, Literal

from raykd.data.examples import Answer, ParallelQA, QAExample
from raykd.data.problems import add_missing, all_at_once, short
from raykd.data.sources import NotFoundError, SourceRef, opened
from raykd.errors import DataError

# json.loads lets half a pair through, and a tokenizer dies of it much later.
_SURROGATE = re.compile("[\ud800-\udfff]")
_ROWS = (".parquet", ".jsonl", ".csv", ".tsv")
_COLUMNS = ("id", "question", "context", "answers")
Answers = Literal["each", "some", "ignored"]
"""Which questions need an answer: each; not those that have none, as in SQuAD 2.0; answers are not read."""

_KINDS = {str: "a string", int: "a whole number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class _Wanted:
    """What a source is read for."""

    question_language: str
    context_language: str
    answers: Answers


def read_squad(
    path: Path, *, question_language: str, context_language: str, answers: Answers = "each"
) -> list[QAExample]:
    """The questions of one SQuAD JSON file (UTF-8), in file order, with all their answers.

    An id that stands again before another question or context gets `#2`, `#3`, ... at its end.

    Args:
        answers: `some` reads questions without an answer too, if the file has any answer or says `is_impossible`.

    Raises:
        DataError: if the file cannot be read, is not JSON (line and column), lacks a key, repeats a question, or holds
            a question without an answer or an answer that is not at its offset (with what stands there, and where the
            answer stands). All problems at once, at most 10 lines.
    """
    with all_at_once() as problems:
        return _read_file(path, _Wanted(question_language, context_language, answers), problems)


def from_hub_rows(
    rows: Iterable[Mapping[str, object]],
    *,
    question_language: str,
    context_language: str,
    source: str,
    answers: Answers = "each",
) -> list[QAExample]:
    """The same from rows: id, question, context, answers{text, answer_start}; errors begin with `source`."""
    with all_at_once() as problems:
        return _read_rows(rows, _Wanted(question_language, context_language, answers), source, problems)


def read_flat(
    ref: SourceRef,
    *,
    language: str,
    folder: Path,
    max_items: int | None = None,
    seed: int = 0,
    answers: Answers = "each",
) -> list[QAExample]:
    """Monolingual examples from one source, in file order; `max_items` and errors as in `read_cells`."""
    with all_at_once() as problems:
        examples = _read_source(ref, folder, _Wanted(language, language, answers), problems, language=language)
    return sample(examples, max_items, seed)


def read_parallel(ref: SourceRef, *, languages: Sequence[str], folder: Path, answers: Answers = "each") -> ParallelQA:
    """Items that every language holds, from one source per language ({language} in the template of `ref`).

    Items are in the order of the first language, their languages in the order of `languages`.

    Raises:
        DataError: as `read_squad`; if a language lacks ids of another one, or the template has no {language}.
    """
    if "language" not in ref.placeholders():
        raise DataError(f"{ref.path or ref.hub}: parallel data needs {{language}} in path and hub_config or hub_files")
    by_language: dict[str, dict[str, QAExample]] = {}
    with all_at_once() as problems:
        for language in dict.fromkeys(languages):
            examples = _read_source(ref, folder, _Wanted(language, language, answers), problems, language=language)
            by_language[language] = {example.id: example for example in examples}
    ids = list(dict.fromkeys(item for items in by_language.values() for item in items))
    with all_at_once() as problems:
        for language, items in by_language.items():
            if missing := [item for item in ids if item not in items]:
                found = f"language {language} lacks {len(missing)} of {len(ids)} parallel ids"
                shown = ", ".join([*missing[:3], *(["..."] if len(missing) > 3 else [])])
                problems.append(f"{ref.describe(language=language)}: {found}: {shown}")
    return {item: {language: items[item] for language, items in by_language.items()} for item in ids}


def read_cells(
    ref: SourceRef,
    *,
    question_languages: Sequence[str],
    context_languages: Sequence[str],
    folder: Path,
    max_items: int | None = None,
    seed: int = 0,
    diagonal: bool = False,
    answers: Answers = "each",
) -> dict[tuple[str, str], list[QAExample]]:
    """The cells of the G-XLT matrix: (question language, context language) -> examples, in file order.

    A template with {question} and {context} has one file per cell (MLQA). A template with {language} alone is
    parallel data (XQuAD): a cell takes the question from one language, context and answers from the other.
    Of every cell the `max_items` ids with the smallest sha256 of "seed:id" are kept, so that cells with the same ids
    keep the same items; None keeps all. Errors are those of `read_parallel`, or of `read_squad` for all cells.

    Args:
        diagonal: only cells of one language: nothing else is read, and no item has to be there in several languages.
    """
    cells = [(q, c) for q, c in product(question_languages, context_languages) if q == c or not diagonal]
    if {"question", "context"} <= ref.placeholders():
        with all_at_once() as problems:
            examples = {
                (q, c): _read_source(ref, folder, _Wanted(q, c, answers), problems, question=q, context=c)
                for q, c in cells
            }
    elif diagonal:
        with all_at_once() as problems:
            examples = {
                (q, c): _read_source(ref, folder, _Wanted(q, c, answers), problems, language=c) for q, c in cells
            }
    else:
        items = read_parallel(ref, languages=[*question_languages, *context_languages], folder=folder, answers=answers)
        examples = {cell: [compose(item, *cell) for item in items.values()] for cell in cells}
    return {cell: sample(found, max_items, seed) for cell, found in examples.items()}


def compose(item: Mapping[str, QAExample], question_language: str, context_language: str) -> QAExample:
    """The question of one language on the context of another: id, context and answers are the context language's."""
    asked = item[question_language]
    return replace(item[context_language], question=asked.question, question_language=question_language)


def sample(examples: list[QAExample], max_items: int | None, seed: int) -> list[QAExample]:
    """The `max_items` examples whose ids have the smallest sha256 of "seed:id", in their order; None keeps all."""
    ranked = sorted((example.id for example in examples), key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).digest())
    kept = set(ranked[:max_items])
    return [example for example in examples if example.id in kept]


def _read_source(ref: SourceRef, folder: Path, wanted: _Wanted, problems: list[str], **names: str) -> list[QAExample]:
    try:
        source = opened(ref, folder=folder, rows=_ROWS, **names)
        if isinstance(source, Path):
            found = _read_file(source, wanted, problems)
        else:
            found = _read_rows(source, wanted, ref.describe(**names), problems)
        return ref.kept(found, lambda example: example.id)
    except NotFoundError as error:
        add_missing(problems, error, ref.describe(**names))
        return []
    except DataError as error:
        problems.extend(error.problems)
        return []


def _read_file(path: Path, wanted: _Wanted, problems: list[str]) -> list[QAExample]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        problems.append(f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}")
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path}: cannot be read: {error}")
    else:
        reader = _Reader(str(path), wanted, problems)
        for article_at, article in reader.entries(document, "data", ""):
            for paragraph_at, paragraph in reader.entries(article, "paragraphs", article_at):
                context = reader.value(paragraph, "context", str, paragraph_at)
                for qa_at, qa in reader.entries(paragraph, "qas", paragraph_at):
                    reader.add(qa, context, qa_at)
        return reader.finish()
    return []


def _read_rows(
    rows: Iterable[Mapping[str, object]], wanted: _Wanted, source: str, problems: list[str]
) -> list[QAExample]:
    reader = _Reader(source, wanted, problems)
    for number, row in enumerate(rows):
        where = f"row {number}"
        if missing := [name for name in _COLUMNS if name not in row]:
            reader.note(
                where, f"lacks {', '.join(missing)}; needs {', '.join(_COLUMNS)}; has {', '.join(map(str, row))}"
            )
            break
        answers = reader.value(row, "answers", dict, where)
        if answers is None:
            continue
        texts, starts = (reader.value(answers, key, list, f"{where}.answers") for key in ("text", "answer_start"))
        if None not in (texts, starts):
            if len(texts) != len(starts):
                reader.note(where, f"{len(texts)} answer texts, {len(starts)} offsets; need as many of each")
            answers = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=False)]
            reader.add({**row, "answers": answers}, reader.value(row, "context", str, where), where)
    return reader.finish()


class _Reader:
    """Collects the examples and the problems of one source."""

    def __init__(self, source: str, wanted: _Wanted, problems: list[str]) -> None:
        self._source, self._wanted, self._problems = source, wanted, problems
        self._examples: dict[str, QAExample] = {}
        self._num_noted_before = len(problems)
        self._num_questions = 0
        self._unlabelled: list[str] = []
        self._says_impossible = False

    def note(self, where: str, problem: str) -> None:
        self._problems.append(": ".join(filter(None, (self._source, where, problem))))

    def value(self, record: object, key: str, kind: type, where: str) -> Any:
        """`record[key]` if it is of `kind`; otherwise None, and the problem is noted."""
        path = f"{where}.{key}" if where else key
        if not isinstance(record, Mapping):
            self.note(where, f"expected an object, got {short(record)}")
        elif key not in record:
            self.note(path, "missing")
        elif type(record[key]) is not kind:
            self.note(path, f"expected {_KINDS[kind]}, got {short(record[key])}")
        elif kind is str and _SURROGATE.search(record[key]):
            self.note(path, f"holds half a surrogate pair: {short(record[key])}")
        else:
            return record[key]
        return None

    def entries(self, record: object, key: str, where: str) -> Iterable[tuple[str, object]]:
        path = f"{where}.{key}" if where else key
        for index, entry in enumerate(self.value(record, key, list, where) or ()):
            yield f"{path}[{index}]", entry

    def add(self, qa: object, context: str | None, where: str) -> None:
        """One question; a problem in it is noted under its id, or under `where` if it has none."""
        qa_id = self.value(qa, "id", str, where)
        if not isinstance(qa, Mapping):
            return
        label = where if qa_id is None else f"id {qa_id}"
        question = self.value(qa, "question", str, label)
        self._num_questions += 1
        answers = () if self._wanted.answers == "ignored" else tuple(self._answers(qa, context, label))
        if context is None or qa_id is None or question is None:
            return
        name, number = qa_id, 1
        while (known := self._examples.get(name)) is not None:
            if (known.question, known.context) == (question, context):
                self.note(where, f"id {qa_id} occurs twice with the same question and context; remove one of them")
                return
            number += 1
            name = f"{qa_id}#{number}"
        languages = self._wanted.question_language, self._wanted.context_language
        self._examples[name] = QAExample(name, question, context, answers, *languages)

    def _answers(self, qa: Mapping[str, object], context: str | None, label: str) -> Iterable[Answer]:
        if qa.get("is_impossible") is True and self._wanted.answers == "some":
            self._says_impossible = True
            if qa.get("answers"):
                self.note(label, "is_impossible, and there are answers; remove one of the two")
            return
        if "answers" not in qa or qa["answers"] == []:
            self._unlabelled.append(label)
            return
        for where, answer in self.entries(qa, "answers", label):
            text, start = self.value(answer, "text", str, where), self.value(answer, "answer_start", int, where)
            if text is not None and not text.strip():
                self.note(where, "the answer is empty")
            elif context is not None and None not in (text, start):
                if start < 0 or not context.startswith(text, start):
                    self.note(label, _misplaced(context, text, start))
                yield Answer(text, start)

    def finish(self) -> list[QAExample]:
        if len(self._unlabelled) == self._num_questions and self._unlabelled and not self._says_impossible:
            self.note(
                "",
                f"none of {self._num_questions} questions has an answer: published without labels, it can neither be "
                "trained nor scored on; `raykd predict MODEL FILE` answers it",
            )
        elif self._wanted.answers == "each":
            for label in self._unlabelled:
                self.note(
                    label,
                    "no answer; every question needs one, unless data.no_answer: cls (training) or unanswerable: true "
                    "(selection, tests) says otherwise",
                )
        if not self._examples and len(self._problems) == self._num_noted_before:
            self.note("", "no questions")
        return list(self._examples.values())


def _misplaced(context: str, text: str, start: int) -> str:
    found = short(context[start : start + len(text)]) if 0 <= start < len(context) else "outside the context"
    places = [str(match.start()) for match in islice(re.finditer(re.escape(text), context), 3)]
    elsewhere = f"it is at {', '.join(places)}" if places else "the context does not contain it"
    return f"answer {short(text)} is not at offset {start} ({found}); {elsewhere}"
