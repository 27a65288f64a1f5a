"""Readers of tagged sentences: files with one word a line and its tag in a column (CoNLL, WikiAnn / PAN-X, Universal
Dependencies, the aspect terms of SemEval), and rows of the Hub with lists of words and tags.

A reader finds every problem of all its files before it gives up. It changes no word: no Unicode normalisation, no case.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from raykd.data import tags as tagging
from raykd.data.examples import Sentence
from raykd.data.problems import add_missing, all_at_once, short
from raykd.data.sources import NotFoundError, SourceRef, opened
from raykd.data.tag_format import Shaper, TagFormat
from raykd.data.tags import Scheme, TagError
from raykd.errors import DataError

HUB_TAGS = ("ner_tags", "pos_tags", "upos", "tags")
"""Where the rows of the Hub hold their tags, by preference."""

AS_FOUND = TagFormat()
"""Words in the first column, tags in the last, in whatever scheme; a bad sequence is refused."""

_ROWS = (".parquet", ".json", ".jsonl")
_RANGE_OR_EMPTY_NODE = re.compile(r"\d+[-.]\d+")


Labels = Collection[str] | Callable[[Scheme], Collection[str]]
"""Tags that may be there; or such, given the scheme that the tags are turned into."""

Rows = tuple[int, int]
"""The sentences of a source from a number on, up to but without another one."""


@dataclass(frozen=True)
class TaggedSentences:
    """The sentences of one language from one source.

    Attributes:
        sentences: in file order, with the ids `{language}-000000` and on.
        source: the file or the set of the Hub.
        scheme: the scheme that the tags were found in; None without tags.
        target: the scheme that they are in now.
        num_repaired: tags that were changed to make a sequence legal.
        num_there: sentences of the source, of which `sentences` may be some rows.
    """

    sentences: tuple[Sentence, ...]
    source: str
    scheme: Scheme | None
    target: Scheme | None
    num_repaired: int
    num_there: int

    def to_json(self) -> dict[str, object]:
        """All but the sentences, with their number and that of their words, for a record."""
        return {
            "source": self.source,
            "sentences": len(self.sentences),
            "words": sum(len(sentence.words) for sentence in self.sentences),
            "scheme": self.scheme,
            "target": self.target,
            "repaired_tags": self.num_repaired,
        }


def read_conll(
    path: Path,
    *,
    language: str,
    tag_format: TagFormat = AS_FOUND,
    labels: Labels | None = None,
    rows: Rows | None = None,
) -> TaggedSentences:
    """The sentences of one UTF-8 file; lines of white space part them.

    Columns are separated by tabs if the first line with a word has a tab, so words may have spaces; else by spaces.
    Skipped: `-DOCSTART-`; lines beginning with `#` that are no word (with tabs: `# ` or no tab; without: before the
    first word of a sentence and with another number of columns than the first word line); in the ten columns of CoNLL-U
    also ranges (`1-2`) and empty nodes (`1.1`). The prefix of words like `de:Haus` is taken off if all words have it.

    Args:
        path: the file.
        language: of the sentences.
        tag_format: columns, schemes and types.
        labels: the tags that may be there once types and scheme are as wanted; None allows all.
        rows: only these sentences, whatever tags the others have.

    Raises:
        DataError: if the file cannot be read or is not UTF-8, holds no sentence, lacks a column, a word or a tag, or
            holds a tag that is not in `labels` or a sequence that is to be refused. At most 10 lines, each with its
            line number.
    """
    with all_at_once() as problems:
        found = _read_file(path, _Wanted(language, tag_format, labels, rows), problems)
    return found


def from_hub_rows(
    rows: Iterable[Mapping[str, object]],
    *,
    language: str,
    source: str,
    tag_format: TagFormat = AS_FOUND,
    labels: Labels | None = None,
) -> TaggedSentences:
    """The same from rows with `tokens` and the first of `HUB_TAGS` that is there; errors begin with `source`.

    Tags are strings, or numbers that `rows.features` (a data set of the Hub has them) gives names to.
    """
    with all_at_once() as problems:
        found = _read_rows(rows, source, _Wanted(language, tag_format, labels, None), problems)
    return found


def read_languages(
    ref: SourceRef,
    *,
    languages: Sequence[str],
    folder: Path,
    tag_format: TagFormat = AS_FOUND,
    labels: Labels | None = None,
    rows: Rows | None = None,
) -> dict[str, TaggedSentences]:
    """One source for each language ({language} in the template of `ref`), in the order of `languages`.

    Raises:
        DataError: as `read_conll`, for all languages at once; if a source is not found, or the template has no
            {language} and more than one is wanted.
    """
    languages = list(dict.fromkeys(languages))
    if "language" not in ref.placeholders() and len(languages) > 1:
        raise DataError(
            f"{ref.path or ref.hub}: several languages need {{language}} in its path and its hub_config or hub_files"
        )
    found: dict[str, TaggedSentences] = {}
    with all_at_once() as problems:
        for language in languages:
            wanted = _Wanted(language, tag_format, labels, rows)
            try:
                loaded = opened(ref, folder=folder, rows=_ROWS, language=language)
                if isinstance(loaded, Path):
                    found[language] = _read_file(loaded, wanted, problems)
                else:
                    found[language] = _read_rows(loaded, ref.describe(language=language), wanted, problems)
            except NotFoundError as error:
                add_missing(problems, error, ref.describe(language=language))
            except DataError as error:
                problems.extend(error.problems)
    return found


@dataclass(frozen=True)
class _Wanted:
    language: str
    tag_format: TagFormat
    labels: Labels | None
    rows: Rows | None


@dataclass
class _Raw:
    """What stands in a source before it is judged: words and tags in one row, and where each sentence ends.

    `places` says where each word stands ("line 7").
    """

    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    untagged: list[str] = field(default_factory=list)
    """What is wrong with words that have no tag."""

    def is_between_sentences(self) -> bool:
        return len(self.words) == (self.ends[-1] if self.ends else 0)

    def end_sentence(self) -> None:
        if not self.is_between_sentences():
            self.ends.append(len(self.words))


def _read_file(path: Path, wanted: _Wanted, problems: list[str]) -> TaggedSentences:
    raw, before = _Raw(), len(problems)
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error}")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x} is not UTF-8"
        problems.append(f"{path}: line {line}: {found}; convert the file to UTF-8")
    else:
        # Not splitlines(): a word may hold U+2028 or U+0085, which are no ends of lines in these files.
        _read_lines([line.removesuffix("\r") for line in text.split("\n")], str(path), wanted.tag_format, raw, problems)
        if raw.untagged and not raw.words:
            problems.append(
                f"{path}: none of {len(raw.untagged)} words has a tag: published without labels, it can neither be "
                "trained nor scored on; `raykd predict MODEL FILE` labels it (or set data.columns.word and "
                "data.columns.tag)"
            )
        else:
            problems.extend(raw.untagged)
    return _judged(raw, str(path), wanted, problems, is_damaged=len(problems) > before)


def _read_lines(lines: Sequence[str], source: str, tag_format: TagFormat, raw: _Raw, problems: list[str]) -> None:
    columns = [tag_format.word_column, *([] if tag_format.tag_column is None else [tag_format.tag_column])]
    # The same column for word and tag means that one is missing: column -1 of a file with one column is its words.
    needed = max(len(set(columns)), *(column + 1 if column >= 0 else -column for column in columns))
    first = next((line for line in lines if line.strip() and not _looks_like_a_note(line)), "")
    has_tabs = "\t" in first
    width = len(_cells(first, has_tabs))
    for number, line in enumerate(lines, 1):
        cells = _cells(line, has_tabs)
        if not line.strip() or cells[0] == "-DOCSTART-":
            raw.end_sentence()
            continue
        if has_tabs:
            is_comment = _looks_like_a_note(line)
        else:
            is_comment = line.startswith("#") and raw.is_between_sentences() and len(cells) != width
        if is_comment or (len(cells) == 10 and tag_format.word_column and _RANGE_OR_EMPTY_NODE.fullmatch(cells[0])):
            continue
        place = f"line {number}"
        if len(cells) < needed:
            parted = "tab" if has_tabs else "space"
            wanted = f"need {needed}; check the line, or data.columns.word and data.columns.tag"
            found = f"{source}: {place}: {len(cells)} {parted}-separated columns in {short(line)}; {wanted}"
            (raw.untagged if tag_format.tag_column is not None else problems).append(found)
            continue
        word, *tag = (cells[column] for column in columns)
        if not word or tag == [""]:
            found = f"{source}: {place}: the {'tag' if word else 'word'} is empty in {short(line)}"
            (raw.untagged if word else problems).append(found)
            continue
        raw.words.append(word)
        raw.tags.extend(tag)
        raw.places.append(place)
    raw.end_sentence()


def _looks_like_a_note(line: str) -> bool:
    return line.startswith(("# ", "-DOCSTART-")) or (line.startswith("#") and "\t" not in line)


def _cells(line: str, has_tabs: bool) -> list[str]:
    # Not split(): a no-break or ideographic space belongs to its word.
    return [cell.strip(" ") for cell in line.split("\t")] if has_tabs else re.split("[ \t]+", line.strip(" \t"))


def _read_rows(
    rows: Iterable[Mapping[str, object]], source: str, wanted: _Wanted, problems: list[str]
) -> TaggedSentences:
    raw, before = _Raw(), len(problems)
    features = getattr(rows, "features", None) or {}
    for number, row in enumerate(rows):
        where, words = f"row {number}", row.get("tokens")
        column = next((name for name in HUB_TAGS if name in row), "")
        tags = [] if wanted.tag_format.tag_column is None else row.get(column)
        if not isinstance(words, list) or not isinstance(tags, list) or not words:
            problems.append(f"{source}: {where}: needs lists `tokens` and one of {', '.join(HUB_TAGS)}; has {[*row]}")
            break
        names: Sequence[str] = getattr(getattr(features.get(column), "feature", None), "names", None) or ()
        if any(isinstance(tag, int) and not 0 <= tag < len(names) for tag in tags):
            problems.append(f"{source}: {where}: {column} holds numbers without names: {short(tags)}")
            break
        tags = [names[tag] if isinstance(tag, int) else tag for tag in tags]
        if (wanted.tag_format.tag_column is not None and len(tags) != len(words)) or not all(
            isinstance(text, str) and text for text in (*words, *tags)
        ):
            problems.append(f"{source}: {where}: {len(words)} words, {len(tags)} tags; each needs one, none empty")
            continue
        raw.words.extend(words)
        raw.tags.extend(tags)
        raw.places.extend([where] * len(words))
        raw.end_sentence()
    return _judged(raw, source, wanted, problems, is_damaged=len(problems) > before)


def _judged(raw: _Raw, source: str, wanted: _Wanted, problems: list[str], *, is_damaged: bool) -> TaggedSentences:
    """The sentences of a source with their tags as wanted; what is wrong with it is added to `problems`."""
    scheme = target = None
    sequences: list[tuple[str, ...]] = [()] * len(raw.ends)
    num_repaired, words, prefix = 0, raw.words, f"{wanted.language}:"
    if all(word.startswith(prefix) and len(word) > len(prefix) for word in words):
        words = [word.removeprefix(prefix) for word in words]
    every = list(enumerate(pairwise([0, *raw.ends])))
    if not every and not is_damaged:
        problems.append(f"{source}: no sentences")
    # Whatever is wrong with a tag outside of the rows does not matter.
    kept = every[slice(*wanted.rows)] if wanted.rows else every
    bounds = [each for _, each in kept]
    if raw.tags and bounds:
        sequences = [tuple(raw.tags[start:end]) for start, end in bounds]
        try:
            scheme = wanted.tag_format.scheme or tagging.detect(sequences)
        except TagError as error:
            problems.append(f"{source}: {raw.places[bounds[0][0] + error.position]}: {error}")
        else:
            if scheme == "none" and wanted.tag_format.types == "drop":
                problems.append(f"{source}: types: drop: these tags are no chunks of a type, such as {raw.tags[0]!r}")
            target = scheme if scheme == "none" else wanted.tag_format.target or scheme
            labels = wanted.labels(target) if callable(wanted.labels) else wanted.labels
            shaper = Shaper(scheme, target, wanted.tag_format, labels)
            for number, (start, _) in enumerate(bounds):
                sequences[number], wrong = shaper.shaped(sequences[number])
                problems.extend(f"{source}: {raw.places[start + at]}: {problem}" for at, problem in wrong)
            num_repaired = shaper.num_repaired
    sentences = tuple(
        Sentence(f"{wanted.language}-{number:06d}", wanted.language, tuple(words[start:end]), sequences[place])
        for place, (number, (start, end)) in enumerate(kept)
    )
    return TaggedSentences(sentences, source, scheme, target, num_repaired, len(every))
