import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.public_hub import configured, labelled

from raykd.data.bitext import read_labelled_pairs, read_pairs
from raykd.data.examples import LabelledPair, SentencePair
from raykd.data.sources import SourceRef
from raykd.errors import DataError

TSV = SourceRef(path="{language}.tsv")
ALIGNED = SourceRef(path="t.{language}-eng.{side}")
CODES = {"en": "eng", "de": "deu", "fr": "fra", "zh": "cmn"}


@pytest.fixture
def nowhere_else(tmp_path, monkeypatch):
    """Files that are not in `tmp_path` are nowhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAYKD_DATA", raising=False)


@pytest.fixture
def write(tmp_path):
    """Writes files of these contents, text or bytes."""

    def written(contents):
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return written


@pytest.fixture
def read(tmp_path, nowhere_else):
    return lambda ref=TSV, languages=("de",), **options: read_pairs(
        ref, languages=languages, folder=tmp_path, **options
    )


@pytest.fixture
def read_labelled(tmp_path, nowhere_else):
    return lambda ref=TSV, languages=("de",), **options: read_labelled_pairs(
        ref, languages=languages, folder=tmp_path, **options
    )


def problems_of(reader, tmp_path, **options):
    with pytest.raises(DataError) as caught:
        reader(**options)
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.problems]


def texts(found):
    return [(pair.english, pair.other) for pair in found.pairs]


# One file with two columns ------------------------------------------------------------------------------------------


def test_a_line_is_a_pair_and_its_number_is_its_id(write, read):
    write({"de.tsv": "Yes.\tJa.\nNo.\tNein.\n"})
    assert read()["de"].pairs == (
        SentencePair("de:000000", "de", "Yes.", "Ja."),
        SentencePair("de:000001", "de", "No.", "Nein."),
    )


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfa b\tc d\ne\tf\n",
        b"a b\tc d\r\ne\tf\r\n",
        b"a b\tc d\ne\tf",
        "  a \u3000 b\tc\xa0\u2028d \n e\tf ".encode(),
    ],
    ids=["BOM", "CRLF", "no last newline", "much white space"],
)
def test_ends_of_lines_and_white_space_make_no_difference(write, read, content):
    write({"de.tsv": content})
    assert texts(read()["de"]) == [("a b", "c d"), ("e", "f")]


def test_quotation_marks_and_letters_stay_what_they_are(write, read):
    write({"de.tsv": '"Go\t"Los\nit\'s "x"\t"\ne\u0301\t\ufb01\n'})
    assert texts(read()["de"]) == [('"Go', '"Los'), ('it\'s "x"', '"'), ("e\u0301", "\ufb01")]


def test_blank_lines_and_repeats_are_counted_and_the_ids_still_count_lines(write, read):
    write({"de.tsv": "a\tb\n\n \t \na\tb\n a\tb \nc\tb\n\n"})
    found = read()["de"]
    assert [pair.id for pair in found.pairs] == ["de:000000", "de:000005"]
    assert (found.num_blank, found.num_repeated) == (3, 2)
    assert json.loads(json.dumps(found.to_json())) == {"pairs": 2, "blank_lines": 3, "repeated_pairs": 2}


def test_every_problem_of_every_language_is_named_at_once(write, read, tmp_path):
    write(
        {
            "de.tsv": "a\tb\nc\nd\te\tf\n",
            "fr.tsv": "a\t \n\tb\n",
            "es.tsv": "\n",
            "ru.tsv": b"a\t\xff\n",
            "nl.tsv": "a\tb\n",
        }
    )
    wrong = problems_of(read, tmp_path, languages=["de", "fr", "es", "it", "ru", "nl", "pt"])
    assert wrong[:5] == [
        "de.tsv: line 2: 1 tab-separated field, need 2 (English<TAB>other) in 'c'",
        "de.tsv: line 3: 3 tab-separated fields, need 2 (English<TAB>other) in 'd\\te\\tf'",
        "fr.tsv: line 1: one side is empty, the other is 'a'; fill it, or remove the pair",
        "fr.tsv: line 2: one side is empty, the other is 'b'; fill it, or remove the pair",
        "es.tsv: no pair of en and es; add some, or remove the language",
    ]
    assert wrong[5].startswith("it.tsv: not found; tried ")
    assert wrong[6] == "ru.tsv: line 1: byte 0xff is not UTF-8; convert the file to UTF-8"
    assert wrong[7:] == ["not found in the same places: pt.tsv"]


def test_languages_keep_their_order_and_files_may_use_other_codes(write, read):
    write({"fra.tsv": "a\tb\n", "de.tsv": "a\tc\n"})
    found = read(languages=["fr", "de", "fr"], codes={"fr": "fra"})
    assert list(found) == ["fr", "de"]
    assert found["fr"].pairs == (SentencePair("fr:000000", "fr", "a", "b"),)


def test_what_cannot_be_meant_is_refused(write, read, tmp_path):
    write({"de.tsv": "a\tb\n"})
    assert problems_of(read, tmp_path, ref=SourceRef(path="de.tsv"), languages=["de", "fr"]) == [
        "de.tsv: several languages need {language} or {pair} in its path"
    ]
    assert texts(read(SourceRef(path="de.tsv"))["de"]) == [("a", "b")]
    assert problems_of(read, tmp_path, languages=["en", "de"]) == [
        "{language}.tsv: en is one side of every pair; languages names the other sides"
    ]
    (line,) = problems_of(read, tmp_path, ref=SourceRef(path="{lang}.tsv"))
    assert line.startswith("{lang}.tsv: unknown placeholder {lang}; allowed here: {language}, {pair}, {side}")


CELL = st.text(st.characters(exclude_characters="\ufeff", exclude_categories=["Cs"]), max_size=4)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6))
def test_both_kinds_of_files_give_the_texts_back_or_name_the_empty_sides(write, read, rows):
    rows = [tuple(" ".join(text.split()) for text in row) for row in rows]
    write({"de.tsv": "".join(f"{a}\t{b}\n" for a, b in rows)})
    write({"t.deu-eng.eng": "".join(f"{a}\n" for a, _ in rows), "t.deu-eng.deu": "".join(f"{b}\n" for _, b in rows)})
    half, blank = [row for row in rows if ("" in row) and row != ("", "")], rows.count(("", ""))
    kept = list(dict.fromkeys(row for row in rows if all(row)))
    for ref, codes in ((TSV, {}), (ALIGNED, CODES)):
        if half or not kept:
            with pytest.raises(DataError) as caught:
                read(ref, codes=codes)
            assert sum("one side is empty" in line for line in caught.value.problems) == len(half)
            continue
        found = read(ref, codes=codes)["de"]
        assert texts(found) == kept
        assert (found.num_blank, found.num_repeated) == (blank, len(rows) - blank - len(kept))
        assert all(rows[int(pair.id.removeprefix("de:"))] == (pair.english, pair.other) for pair in found.pairs)


# Two files line by line ---------------------------------------------------------------------------------------------


def test_lines_of_two_files_belong_together(write, read):
    write({"t.deu-eng.eng": "a\tb\n\nc\n", "t.deu-eng.deu": b"\xef\xbb\xbfx\r\n\r\ny"})
    found = read(ALIGNED, codes=CODES)["de"]
    assert [(pair.id, pair.english, pair.other) for pair in found.pairs] == [
        ("de:000000", "a b", "x"),
        ("de:000002", "c", "y"),
    ]
    assert found.num_blank == 1


def test_the_pivot_may_be_another_language(write, read):
    write({"t.fr-eng.de": "Ja\n", "t.fr-eng.fr": "Oui\n"})
    assert texts(read(ALIGNED, languages=["fr"], pivot="de")["fr"]) == [("Ja", "Oui")]


def test_problems_name_the_file_they_are_in(write, read, tmp_path):
    write({"t.deu-eng.eng": "a\nb\n", "t.deu-eng.deu": "x\n", "t.fra-eng.eng": "a\n\nc\n", "t.fra-eng.fra": "\ny\nz\n"})
    write({"t.cmn-eng.eng": "a\n", "t.es-eng.eng": "", "t.es-eng.es": ""})
    wrong = problems_of(read, tmp_path, ref=ALIGNED, languages=["de", "fr", "es", "zh", "ru"], codes=CODES)
    assert wrong[:4] == [
        "t.deu-eng.eng has 2 lines, t.deu-eng.deu has 1; aligned files need the same number of lines",
        "t.fra-eng.fra: line 1: one side is empty, the other is 'a'; fill it, or remove the pair",
        "t.fra-eng.eng: line 2: one side is empty, the other is 'y'; fill it, or remove the pair",
        "t.es-eng.eng and t.es-eng.es: no pair of en and es; add some, or remove the language",
    ]
    assert wrong[4].startswith("t.cmn-eng.cmn: not found; tried ")
    assert wrong[5:] == ["not found in the same places: t.ru-eng.eng, t.ru-eng.ru"]


# The Hub ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(public_hub):
    """Rows as a data set of the Hub."""

    def stored(rows, path=None):
        name = f"a/set{len(public_hub.repos)}"
        public_hub.add(name, {"train.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()})
        return SourceRef(path=path, hub=name, hub_files="train.jsonl")

    return stored


def test_rows_hold_their_texts_in_a_dictionary_or_in_columns(hub, read):
    expected = (SentencePair("de:000000", "de", "a", "b"), SentencePair("de:000002", "de", "c", "d"))
    nested = [{"translation": {"en": "a", "de": " b"}}, {"translation": {"en": "", "de": None}}]
    nested += [{"translation": {"en": "c", "de": "d"}}, {"translation": {"en": "a", "de": "b"}}]
    flat = [{"eng": row["translation"]["en"], "deu": row["translation"]["de"], "fra": "x"} for row in nested]
    for ref, codes in ((hub(nested), {}), (hub(nested), CODES), (hub(flat), CODES)):
        found = read(ref, codes=codes)["de"]
        assert (found.pairs, found.num_blank, found.num_repeated) == (expected, 1, 1)
    assert len(read(hub(flat[:1]), languages=["de", "fr"], codes=CODES)) == 2


def test_problems_of_rows_are_counted_from_0(hub, read, tmp_path):
    ref = hub([{"translation": {"en": "a", "de": "b"}}, {"translation": {"en": "a", "de": None}}])
    empty, absent = problems_of(read, tmp_path, ref=ref, languages=["de", "fr"])
    assert empty.endswith("train.jsonl: row 1: one side is empty, the other is 'a'; fill it, or remove the pair")
    assert ": row 0: needs text columns en and fr, or `translation` with these keys; has ['en', 'de']" in absent
    (number,) = problems_of(read, tmp_path, ref=hub([{"en": 1, "de": "b"}]))
    assert ": row 0: needs text columns en and de" in number


def test_a_file_comes_before_the_hub(hub, read, write):
    ref = hub([{"en": "a", "de": "of the Hub"}], path="{language}.tsv")
    assert texts(read(ref)["de"]) == [("a", "of the Hub")]
    write({"de.tsv": "a\tof the file\n"})
    assert texts(read(ref)["de"]) == [("a", "of the file")]


# Labelled pairs -----------------------------------------------------------------------------------------------------


def test_a_labelled_line_is_two_texts_and_a_label(write, read_labelled):
    write(
        {"deu.tsv": '\ufeffEr  "kam\tEr ging\tno\r\n\r\nEr kam\tSie "kam\tyes', "en.tsv": "a\tb\t0\na\tb\t1\na\tb\t1\n"}
    )
    found = read_labelled(languages=["en", "de"], codes=CODES | {"en": "en"})
    assert list(found) == ["en", "de"]
    assert found["de"] == [
        LabelledPair("de:000000", "de", 'Er "kam', "Er ging", "no"),
        LabelledPair("de:000002", "de", "Er kam", 'Sie "kam', "yes"),
    ]
    assert [pair.label for pair in found["en"]] == ["0", "1", "1"]


def test_every_problem_of_labelled_files_is_named_at_once(write, read_labelled, tmp_path):
    write({"de.tsv": "a\tb\n\tb\t0\na\t\t \n", "fr.tsv": "a\tb\t1\nc\td\t1\n", "es.tsv": ""})
    wrong = problems_of(read_labelled, tmp_path, languages=["de", "fr", "es", "it"])
    assert wrong[:5] == [
        "de.tsv: line 1: 2 tab-separated fields, need 3 (first<TAB>second<TAB>label) in 'a\\tb'",
        "de.tsv: line 2: first: empty in '<TAB>b<TAB>0'",
        "de.tsv: line 3: second and label: empty in 'a<TAB><TAB>'",
        "fr.tsv: all 2 pairs have the label '1'; two labels or more are needed",
        "es.tsv: no pairs",
    ]
    assert wrong[5].startswith("it.tsv: not found; tried ") and len(wrong) == 6


@pytest.mark.parametrize("ref", [SourceRef(path="a.tsv"), SourceRef(hub="a.tsv", split="test")])
def test_labelled_pairs_of_several_languages_need_several_sources(read_labelled, tmp_path, ref):
    (line,) = problems_of(read_labelled, tmp_path, ref=ref, languages=["de", "fr"])
    assert line == "a.tsv: several languages need {language} in its path and its hub_config or hub_files"


def test_labelled_rows_are_two_texts_and_a_named_class(public_hub, read_labelled):
    names = ["entailment", "neutral", "contradiction"]
    tables = {each: {"test": labelled(each, 3, "premise", "hypothesis", names)} for each in ("de", "en")}
    public_hub.add("facebook/xnli", configured(tables))
    found = read_labelled(SourceRef(hub="facebook/xnli", hub_config="{language}", split="test"), ["de", "en"])
    assert found["de"][2] == LabelledPair("de:000002", "de", "de 0", "de also 2", "contradiction")
    assert [pair.label for pair in found["en"]] == names


# Published files ----------------------------------------------------------------------------------------------------


def test_published_translations_are_read_without_a_complaint(real_data):
    names = dict(ar="ara", bg="bul", zh="cmn", de="deu", el="ell", fr="fra", hi="hin", ru="rus", es="spa", th="tha")
    tatoeba = SourceRef(path="parallel/tatoeba/tatoeba.{language}-eng.{side}")
    found = read_pairs(tatoeba, languages=list(names), folder=real_data, codes=names | {"en": "eng"})
    sizes = {language: len(pairs.pairs) for language, pairs in found.items()}
    assert sizes.pop("th") == 548 and set(sizes.values()) == {1000}
    assert (found["zh"].pairs[1].english, found["zh"].pairs[1].other) == ("We should go to sleep.", "我该去睡觉了。")
    help_texts = SourceRef(path="parallel/help/en-{language}.tsv")
    found = read_pairs(help_texts, languages=["de", "hi", "zh"], folder=real_data, codes={"zh": "zh-CN"})
    assert [len(pairs.pairs) for pairs in found.values()] == [8000, 3529, 8000]


def test_published_labelled_pairs_are_read_without_a_complaint(real_data):
    xnli = read_labelled_pairs(SourceRef(path="xnli/test-{language}.tsv"), languages=["en", "hi"], folder=real_data)
    for pairs in xnli.values():
        labels = Counter(pair.label for pair in pairs)
        assert labels == {"entailment": 1670, "neutral": 1670, "contradiction": 1670}
    pawsx = read_labelled_pairs(SourceRef(path="pawsx/dev-{language}.tsv"), languages=["de", "fr"], folder=real_data)
    assert [Counter(pair.label for pair in pairs)["1"] for pairs in pawsx.values()] == [831, 860]
