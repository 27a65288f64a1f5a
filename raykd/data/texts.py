"""Plain text, a file for each language: a text in each line."""

from collections.abc import Sequence
from pathlib import Path

from raykd.data.lines import read_lines
from raykd.data.problems import add_missing, all_at_once
from raykd.data.sources import NotFoundError, SourceRef, opened
from raykd.errors import DataError


def read_texts(ref: SourceRef, *, languages: Sequence[str], folder: Path) -> dict[str, list[str]]:
    """The lines of UTF-8 files that are not empty, by language ({language} in the template of `ref`).

    Raises:
        DataError: for all languages at once, where a file is not found, cannot be read or holds no text, or the
            template has no {language} and more than one is wanted.
    """
    languages = list(dict.fromkeys(languages))
    if "language" not in ref.placeholders() and len(languages) > 1:
        raise DataError(f"{ref.path or ref.hub}: several languages need {{language}} in its path or hub_files")
    found: dict[str, list[str]] = {}
    with all_at_once() as problems:
        for language in languages:
            try:
                path = opened(ref, folder=folder, rows=(), language=language)
            except NotFoundError as error:
                add_missing(problems, error, ref.describe(language=language))
                continue
            except DataError as error:
                problems.extend(error.problems)
                continue
            if not isinstance(path, Path):
                problems.append(f"{ref.describe(language=language)}: plain text is a file with a text in each line")
                continue
            before = len(problems)
            found[language] = [line for line in read_lines(path, problems) if line.strip()]
            if not found[language] and len(problems) == before:
                problems.append(f"{path}: no text")
    return found
