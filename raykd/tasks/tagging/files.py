"""Files of sentences that a model labels."""

from pathlib import Path

from raykd.data.conll import read_conll
from raykd.data.lines import read_lines
from raykd.data.problems import all_at_once
from raykd.data.tag_format import TagFormat

_COLUMNS = {".conll": 0, ".conllu": 1, ".iob": 0, ".bio": 0, ".tsv": 0}
"""Suffix of a file with a word in each line -> the column of the words."""


def read_sentences(path: Path) -> list[tuple[str, ...]]:
    """The sentences of a UTF-8 file, as words.

    `.conll`, `.tsv`, `.iob`, `.bio` and `.conllu` have a word in each line, in columns separated by tabs or spaces, and
    empty lines between sentences. Of any other file each line is a sentence, its words separated by white space.

    Raises:
        DataError: if the file cannot be read or no sentences.
    """
    if path.suffix in _COLUMNS:
        words = TagFormat(word_column=_COLUMNS[path.suffix], tag_column=None)
        return [sentence.words for sentence in read_conll(path, language="und", tag_format=words).sentences]
    with all_at_once() as problems:
        found = [tuple(line.split()) for line in read_lines(path, problems)]
        found = [words for words in found if words]
        if not found and not problems:
            problems.append(f"{path}: no sentences")
    return found
