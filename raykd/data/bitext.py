"""Readers of sentence pairs: translations of English sentences, and labelled pairs of sentences of one language.

Translations stand in a file with two columns, in two files line by line, or in rows of the Hub. White space is stripped
and runs of it become one space; otherwise no text is changed, and quotation marks mean nothing. A reader finds every
problem of all its files before it gives up.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raykd.data.examples import LabelledPair, SentencePair
from raykd.data.lines import read_lines
from raykd.data.problems import add_missing, all_at_once, short
from raykd.data.rows import Rows
from raykd.data.sources import NotFoundError, SourceRef, opened
from raykd.errors import DataError

_ROWS = (".parquet", ".json", ".jsonl", ".csv")
_LABELLED = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("first", "second"))
"""Where the rows of the Hub hold the two sentences of a labelled pair (XNLI, PAWS-X), by preference."""


@dataclass(frozen=True)
class PairSet:
    """The pairs of one language from one source.

    Attributes:
        pairs: in the order of the source, each once. The ids are `{language}:000000` and on, counting its lines.
        num_blank: lines that were empty on both sides.
        num_repeated: pairs left out because the same two texts came before.
    """

    pairs: tuple[SentencePair, ...]
    num_blank: int
    num_repeated: int

    def to_json(self) -> dict[str, object]:
        """The number of pairs and of what was left out, for a record."""
        return {"pairs": len(self.pairs), "blank_lines": self.num_blank, "repeated_pairs": self.num_repeated}


def read_pairs(
    ref: SourceRef,
    *,
    languages: Sequence[str],
    folder: Path,
    codes: Mapping[str, str] | None = None,
    pivot: str = "en",
) -> dict[str, PairSet]:
    """English sentences with their translations into each language, in the order of `languages`.

    What is read follows from the reference:
        `path` with {language}: a file for each language, `English<TAB>other` on each line.
        `path` with {language} and {side}: two files for each language, such as `tatoeba.{language}-eng.{side}`; their
            lines belong together. {side} is the code of the pivot, then that of the language.
        {pair} is both codes in the order of the alphabet: `de-en`.
        Rows, as of the Hub: the texts by code, in a dictionary `translation` or as columns; or `source_sentence` and
            `target_sentence` with their codes in `source_lang` and `target_lang`.

    Args:
        ref: where the pairs are.
        languages: what English is paired with.
        folder: the folder of the sweep file.
        codes: language -> what stands for it in templates and columns, the pivot's as well; itself if not named. A
            column may also be named by the language itself.
        pivot: the language on the English side.

    Raises:
        DataError: for all languages at once, at most 10 lines, each with file and line: a source is not found, cannot
            be read, is not UTF-8 or holds no pair; a line has not two fields; one side of a pair is empty; two files
            differ in their number of lines. Or if the pivot is among the languages, or several would share one file.
    """
    languages = list(dict.fromkeys(languages))
    if pivot in languages:
        raise DataError(f"{ref.path or ref.hub}: {pivot} is one side of every pair; languages names the other sides")
    _refuse_one_file_for(languages, ref)
    codes = codes or {}
    found: dict[str, PairSet] = {}
    with all_at_once() as problems:
        for language in languages:
            before = len(problems)
            table = _table(ref, folder, (pivot, language), codes, problems)
            if table is None:
                continue
            found[language] = _collect(table, language, problems)
            if not found[language].pairs and len(problems) == before:
                sources = " and ".join(dict.fromkeys(table.sources))
                problems.append(f"{sources}: no pair of {pivot} and {language}; add some, or remove the language")
    return found


def read_labelled_pairs(
    ref: SourceRef, *, languages: Sequence[str], folder: Path, codes: Mapping[str, str] | None = None
) -> dict[str, list[LabelledPair]]:
    """Labelled pairs of sentences (XNLI, PAWS-X): for each language a file, `first<TAB>second<TAB>label`, or rows.

    Ids are `{language}:000000` and on, counting the lines: where files are parallel, so are their numbers. Blank lines
    are skipped. Nothing else is left out, so repeated pairs stay.

    Args:
        ref: where the pairs are. Rows have `label` and the two sentences under one of `_LABELLED`; a label that is a
            number is called as the set names it.
        languages: of the sentences.
        folder: the folder of the sweep file.
        codes: language -> what stands for it in templates; itself if not named.

    Raises:
        DataError: as `read_pairs`, of lines that have not three fields or an empty one; if a set has fewer than two
            labels.
    """
    languages, codes = list(dict.fromkeys(languages)), codes or {}
    if len(languages) > 1 and "language" not in ref.placeholders():
        raise DataError(
            f"{ref.path or ref.hub}: several languages need {{language}} in its path and its hub_config or hub_files"
        )
    found: dict[str, list[LabelledPair]] = {}
    with all_at_once() as problems:
        for language in languages:
            names = {"language": codes.get(language, language)}
            try:
                source = opened(ref, folder=folder, rows=_ROWS, **names)
            except NotFoundError as error:
                add_missing(problems, error, ref.describe(**names))
            except DataError as error:
                problems.extend(error.problems)
            else:
                if isinstance(source, Path):
                    lines = _fields(source, ("first", "second", "label"), problems)
                    found[language] = _labelled(lines, str(source), _line, language, problems)
                else:
                    where = ref.describe(**names)
                    lines = _labelled_rows(source, where, problems)
                    found[language] = _labelled(lines, where, _row, language, problems)
    return found


def _refuse_one_file_for(languages: Sequence[str], ref: SourceRef) -> None:
    # A table of the Hub may hold all languages in its columns; a file holds one.
    if len(languages) > 1 and ref.path and not {"language", "pair"} & SourceRef(path=ref.path).placeholders():
        raise DataError(f"{ref.path}: several languages need {{language}} or {{pair}} in its path")


@dataclass(frozen=True)
class _Table:
    """Where the English and the other side of a language stand, and its rows: number from 0, English, other.

    `place` says where a number is, as users count ("line 7").
    """

    sources: tuple[str, str]
    rows: Iterable[tuple[int, str, str]]
    place: Callable[[int], str]


def _line(number: int) -> str:
    return f"line {number + 1}"


def _row(number: int) -> str:
    return f"row {number}"


def _table(
    ref: SourceRef, folder: Path, pair: tuple[str, str], codes: Mapping[str, str], problems: list[str]
) -> _Table | None:
    """The rows of one pair of languages; None if they are not found, which is added to `problems`."""
    pivot_code, code = (codes.get(language, language) for language in pair)
    has_sides = any(template and "{side}" in template for template in (ref.path, ref.hub_files))
    names = {"language": code, "pair": "-".join(sorted((pivot_code, code)))}
    found: list[Path | Rows] = []
    for side in (pivot_code, code) if has_sides else (code,):
        try:
            found.append(opened(ref, folder=folder, rows=_ROWS, **names, side=side))
        except NotFoundError as error:
            plain = [name for name in (pair if has_sides else pair[1:]) if name not in codes]
            add_missing(problems, _with_codes(error, plain), ref.describe(**names, side=side))
        except DataError as error:
            problems.extend(error.problems)
    if len(found) < 1 + has_sides:
        return None
    if rows := [each for each in found if isinstance(each, Rows)]:
        source, columns = ref.describe(**names, side=code), ((pivot_code, pair[0]), (code, pair[1]))
        return _Table((source, source), _texts_of_rows(rows[0], source, columns, problems), _row)
    files = [each for each in found if isinstance(each, Path)]
    return _two_files(files[0], files[1], problems) if has_sides else _two_columns(files[0], problems)


def _with_codes(error: NotFoundError, plain: Sequence[str]) -> NotFoundError:
    """The error, and that its file may have another name for these languages."""
    if not plain:
        return error
    remedy = f"map {' and '.join(plain)} to the names in the file with `codes`"
    return NotFoundError(f"{line}, or {remedy}" for line in error.problems)


def _two_columns(path: Path, problems: list[str]) -> _Table:
    lines = _fields(path, ("English", "other"), problems)
    rows = ((number, english, other) for number, (english, other) in lines)
    return _Table((str(path), str(path)), rows, _line)


def _two_files(english: Path, other: Path, problems: list[str]) -> _Table:
    before = len(problems)
    sides = [read_lines(path, problems) for path in (english, other)]
    counts = [len(lines) for lines in sides]
    if len(problems) == before and counts[0] != counts[1]:
        found = f"{english} has {counts[0]} lines, {other} has {counts[1]}"
        problems.append(f"{found}; aligned files need the same number of lines")
    if len(problems) > before:
        sides = [[], []]
    return _Table((str(english), str(other)), zip(range(counts[0]), *sides, strict=False), _line)


def _texts_of_rows(
    rows: Iterable[Mapping[str, object]], source: str, columns: tuple[tuple[str, ...], ...], problems: list[str]
) -> Iterator[tuple[int, str, str]]:
    """The texts of each row: of each side under the first of its `columns` that is there; no value is no text."""
    for number, row in enumerate(rows):
        texts = row.get("translation")
        texts = texts if isinstance(texts, Mapping) else row
        if {"source_lang", "target_lang"} <= row.keys():
            texts = {row[f"{side}_lang"]: row.get(f"{side}_sentence") for side in ("source", "target")}
        english, other = (next((texts[name] or "" for name in names if name in texts), None) for names in columns)
        if not (isinstance(english, str) and isinstance(other, str)):
            needed = " and ".join(names[0] for names in columns)
            problems.append(
                f"{source}: row {number}: needs text columns {needed}, or `translation` with these keys; has {[*texts]}"
            )
            return
        yield number, english, other


def _fields(path: Path, names: Sequence[str], problems: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The number from 0 and the fields of each line that has as many as there are names; of a blank line, empty ones.

    No reader of CSV: it would take a quotation mark for the beginning of a field that may go on for lines.
    """
    for number, line in enumerate(read_lines(path, problems)):
        fields = line.split("\t") if line.strip() else [""] * len(names)
        if len(fields) == len(names):
            yield number, fields
        else:
            count = f"{len(fields)} tab-separated field{'' if len(fields) == 1 else 's'}, need {len(names)}"
            problems.append(f"{path}: {_line(number)}: {count} ({'<TAB>'.join(names)}) in {short(line)}")


def _collect(table: _Table, language: str, problems: list[str]) -> PairSet:
    pairs: list[SentencePair] = []
    seen: set[tuple[str, str]] = set()
    num_blank = num_repeated = 0
    for number, *texts in table.rows:
        english, other = (_tidy(text) for text in texts)
        if not english and not other:
            num_blank += 1
        elif not english or not other:
            source = table.sources[0 if other else 1]
            found = f"one side is empty, the other is {short(english or other)}; fill it, or remove the pair"
            problems.append(f"{source}: {table.place(number)}: {found}")
        elif (english, other) in seen:
            num_repeated += 1
        else:
            seen.add((english, other))
            pairs.append(SentencePair(f"{language}:{number:06d}", language, english, other))
    return PairSet(tuple(pairs), num_blank, num_repeated)


def _labelled_rows(rows: Rows, source: str, problems: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The number from 0, both sentences and the label of each row."""
    classes: Sequence[str] = getattr(rows.features.get("label"), "names", None) or ()
    for number, row in enumerate(rows):
        names = next((names for names in _LABELLED if {*names, "label"} <= row.keys()), None)
        label = row.get("label")
        if isinstance(label, int) and 0 <= label < len(classes):
            label = classes[label]
        texts = [*(row[name] for name in names or ()), label]
        if names is None or not all(isinstance(text, str) for text in texts):
            needed = " or ".join(" and ".join(each) for each in _LABELLED)
            found = f"{short(dict(row))}; needs text columns {needed}, and `label`, a text or a named class"
            problems.append(f"{source}: {_row(number)}: {found}")
            return
        yield number, [str(text) for text in texts]


def _labelled(
    rows: Iterable[tuple[int, list[str]]],
    source: str,
    place: Callable[[int], str],
    language: str,
    problems: list[str],
) -> list[LabelledPair]:
    before, names = len(problems), ("first", "second", "label")
    pairs: list[LabelledPair] = []
    for number, fields in rows:
        texts = [_tidy(field) for field in fields]
        if all(texts):
            first, second, label = texts
            pairs.append(LabelledPair(f"{language}:{number:06d}", language, first, second, label))
        elif any(texts):
            empty = " and ".join(name for name, text in zip(names, texts, strict=True) if not text)
            problems.append(f"{source}: {place(number)}: {empty}: empty in {short('<TAB>'.join(texts))}")
    labels = {pair.label for pair in pairs}
    if len(problems) == before and not pairs:
        problems.append(f"{source}: no pairs")
    elif len(problems) == before and len(labels) < 2:
        problems.append(
            f"{source}: all {len(pairs)} pairs have the label {short(*labels)}; two labels or more are needed"
        )
    return pairs


def _tidy(text: str) -> str:
    return " ".join(text.split())
