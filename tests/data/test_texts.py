"""Plain text, a file for each language."""

import pytest

from raykd.data.sources import SourceRef
from raykd.data.texts import read_texts
from raykd.errors import DataError

REF = SourceRef(path="{language}.txt")


def test_lines_that_are_not_empty_are_read_by_language(tmp_path):
    (tmp_path / "en.txt").write_text("One .\n\n  \nTwo\u2028parts .\r\n", encoding="utf-8")
    (tmp_path / "de.txt").write_text("Eins .", encoding="utf-8")
    assert read_texts(REF, languages=["en", "de", "en"], folder=tmp_path) == {
        "en": ["One .", "Two\u2028parts ."],
        "de": ["Eins ."],
    }


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    (tmp_path / "en.txt").write_text("\n \n", encoding="utf-8")
    (tmp_path / "de.txt").write_bytes(b"Gr\xfc\xdfe\n")
    with pytest.raises(DataError) as caught:
        read_texts(REF, languages=["en", "de", "fr"], folder=tmp_path)
    said = "\n".join(caught.value.problems)
    assert "en.txt: no text" in said and "de.txt: line 1: byte 0xfc is not UTF-8" in said and "fr.txt" in said


def test_several_languages_need_a_place_for_each(tmp_path):
    with pytest.raises(DataError, match=r"several languages need \{language\}"):
        read_texts(SourceRef(path="all.txt"), languages=["en", "de"], folder=tmp_path)
