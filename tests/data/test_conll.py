from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.public_hub import NER as NER_CLASSES
from support.public_hub import configured, tagged

from raykd.data.conll import TagFormat, from_hub_rows, read_conll, read_languages
from raykd.data.sources import SourceRef
from raykd.data.tags import convert, first_bad, label_set, spans, types_of
from raykd.errors import DataError

PANX = SourceRef(path="panx/{language}.tsv")
NER = "Al\tB-PER\nBe\tI-PER\nin\tO\nUlm\tB-LOC\n\nBe\tO\n"


@pytest.fixture
def write(tmp_path):
    """Writes a file of this content, text or bytes."""

    def written(content, name="file.tsv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


@pytest.fixture
def read(write):
    """Reads such a file."""
    return lambda content, *, labels=None, language="en", **options: read_conll(
        write(content), language=language, tag_format=TagFormat(**options), labels=labels
    )


def rows_of(found):
    return [list(zip(sentence.words, sentence.tags, strict=True)) for sentence in found.sentences]


def problems_of(read, content, **options):
    with pytest.raises(DataError) as caught:
        read(content, **options)
    return [line.partition("file.tsv: ")[2] or line for line in caught.value.problems]


# What a file may look like ----------------------------------------------------------------------------------------


def test_sentences_are_numbered_in_file_order(read):
    found = read(NER, language="de")
    assert [sentence.id for sentence in found.sentences] == ["de-000000", "de-000001"]
    assert found.sentences[0].words == ("Al", "Be", "in", "Ulm")
    assert found.sentences[0].tags == ("B-PER", "I-PER", "O", "B-LOC")
    assert {sentence.language for sentence in found.sentences} == {"de"}
    record = found.to_json()
    assert record.pop("source").endswith("file.tsv")
    assert record == {"sentences": 2, "words": 5, "scheme": "iob2", "target": "iob2", "repaired_tags": 0}


@pytest.mark.parametrize(
    "content",
    [
        NER.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + NER.encode(),
        NER.replace("\n\n", "\n\n \t\n\n") + "\n\n\n",
        NER.rstrip(),
        NER.replace("\t", " "),
        NER.replace("\t", "  \t ").replace("\t", " "),
        NER.replace("\t", "\t_\t"),
        "-DOCSTART-\tO\n\n" + NER,
        NER.replace("\n\n", "\n-DOCSTART-\tO\n"),
        "# sent_id = 1\n# text = Al\tBe in Ulm\n#note\n" + NER,
        "# sent_id = 1\n" + NER.replace("\t", " "),
        NER.replace("Al", "en:Al").replace("Be", "en:Be").replace("in\t", "en:in\t").replace("Ulm", "en:Ulm"),
    ],
    ids=[
        "CRLF", "BOM", "blank lines of white space", "no last newline", "spaces", "several spaces", "three columns",
        "DOCSTART", "DOCSTART between", "comments", "comments in a file with spaces", "language prefixes",
    ],
)  # fmt: skip
def test_the_same_sentences_are_read_however_they_are_written(read, content):
    assert read(content).sentences == read(NER).sentences


def test_what_looks_like_a_comment_or_a_prefix_may_be_a_word(read):
    assert rows_of(read("#\tSYM\n#1\tSYM\nen:x\tX\n", tag_column=1)) == [[("#", "SYM"), ("#1", "SYM"), ("en:x", "X")]]
    assert rows_of(read("a X\n\n# SYM\n#b X\n")) == [[("a", "X")], [("#", "SYM"), ("#b", "X")]]
    assert rows_of(read("de:a\tX\nde:b\tX\n"))[0][0][0] == "de:a"  # not the language of the file


def test_a_word_is_never_changed(read):
    words = ["10 000", "e\u0301", "\u00e9", "\u200f\u200f", "\ufeff", "a\u2028b", "a\u00a0b", "x\u0085", "\u3000y", "-"]
    found = read("".join(f"{word}\tX\n" for word in words))
    assert list(found.sentences[0].words) == words
    found = read("".join(f"{word} X\n" for word in words[1:]))
    assert list(found.sentences[0].words) == words[1:]


def test_columns_are_chosen(read):
    content = "food\tT-NEG\tFOOD\n"
    assert rows_of(read(content, tag_column=1)) == [[("food", "T-NEG")]]
    assert rows_of(read(content, word_column=-1, tag_column=0)) == [[("FOOD", "food")]]
    alone = read("food\nis\n", tag_column=None)
    assert (alone.sentences[0].words, alone.sentences[0].tags) == (("food", "is"), ())
    assert alone.scheme is alone.target is None


def test_ranges_and_empty_nodes_of_conll_u_are_no_words(read):
    row = "{}\t{}\t_\t{}\t_\t_\t_\t_\t_\t_\n"
    content = "# newdoc\n" + "".join(
        row.format(*cells) for cells in [("1-2", "au", "_"), (1, "à", "ADP"), (2, "le", "DET"), ("2.1", "x", "_")]
    )
    assert rows_of(read(content, word_column=1, tag_column=3)) == [[("à", "ADP"), ("le", "DET")]]


# What tags become -------------------------------------------------------------------------------------------------


def test_tags_are_converted(read):
    found = read(NER, target="bioes")
    assert found.sentences[0].tags == ("B-PER", "E-PER", "O", "S-LOC")
    assert (found.scheme, found.target) == ("iob2", "bioes")
    assert read("a\tNOUN\n", target="bioes").sentences[0].tags == ("NOUN",)


def test_aspect_terms_lose_their_polarity(read):
    content = "Green\tT-POS\tFOOD\nTea\tT-POS\tFOOD\nis\tO\tNIL\nmenu\tT-NEG\tFOOD\nview\tT-POS\tAMBIENCE\n"
    found = read(content, tag_column=1, types="drop", target="bioes")
    # Terms that touch are one, unless their polarity differs: nothing else parts them in these files.
    assert found.sentences[0].tags == ("B", "E", "O", "S", "S")
    assert found.scheme == "io"
    names = dict.fromkeys(["NEG", "NEU", "POS"], "TERM")
    found = read(content, tag_column=1, types=names, target="iob2")
    assert found.sentences[0].tags == ("B-TERM", "I-TERM", "O", "B-TERM", "B-TERM")
    assert problems_of(read, content, tag_column=1, types={"POS": "TERM"}) == [
        "line 4: type 'NEG' has no name in types"
    ]


def test_parts_of_speech_are_renamed_and_have_no_type_to_drop(read):
    names = {"NOUN": "N", "PROPN": "N"}
    assert read("a\tNOUN\nb\tPROPN\n", types=names).sentences[0].tags == ("N", "N")
    assert problems_of(read, "a\tNOUN\n", types="drop")[0].startswith("types: drop: these tags are no chunks")


def test_a_bad_sequence_is_refused_or_mended_and_counted(read):
    content = "a\tO\nb\tI-PER\nc\tI-PER\n\nd\tI-LOC\n\ne\tB-LOC\n"
    assert problems_of(read, content) == [
        "line 2: tag 'I-PER' cannot follow 'O' in iob2; data.columns.bad_sequences: repair corrects it",
        "line 5: tag 'I-LOC' cannot be the first in iob2; data.columns.bad_sequences: repair corrects it",
    ]
    found = read(content, bad_sequences="repair")
    assert [sentence.tags for sentence in found.sentences] == [("O", "B-PER", "I-PER"), ("B-LOC",), ("B-LOC",)]
    assert found.num_repaired == found.to_json()["repaired_tags"] == 2


# What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "a\tO\nb\n",
            "line 2: 1 tab-separated columns in 'b'; need 2; check the line, or data.columns.word",
        ),
        ("a O\nb\n", "line 2: 1 space-separated columns in 'b'"),
        ("a\tO\n\tO\n", "line 2: the word is empty in '\\tO'"),
        ("a\tO\nb\t\n", "line 2: the tag is empty in 'b\\t'"),
        ("", "no sentences"),
        (" \n\t\n", "no sentences"),
        ("# only = comments\n", "no sentences"),
        (b"a\tO\nb\xff\tO\n", "line 2: byte 0xff is not UTF-8; convert the file to UTF-8"),
        ("a\tO\n".encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
        ("a\tB-PER\nb\tL-PER\n", "line 2: tag 'L-PER' has no known scheme; use `scheme: none`"),
    ],
)
def test_a_damaged_file_is_explained(read, content, problem):
    assert problems_of(read, content)[0].startswith(problem)


@pytest.mark.parametrize("content", ["a\nb\n\nc\n", "a\t\nb\t\n\nc\t\n", "a\t_\t\nb\t_\t\n\nc\t_\t\n"])
def test_a_file_without_labels_is_for_predict(read, content):
    (line,) = problems_of(read, content)
    assert line.startswith("none of 3 words has a tag: published without labels, it can neither be trained nor scored ")
    assert "`raykd predict MODEL FILE` labels it" in line


@pytest.mark.parametrize("bad", ["x\tB-NEW", "x\tL-PER", "x\tI-PER"])
def test_a_tag_outside_of_the_rows_does_not_matter(write, bad):
    path = write(f"{bad}\n\na\tB-PER\nb\tO\n\nc\tB-PER\n\n{bad}\n")
    labels = label_set(["PER"], "iob2")
    found = read_conll(path, language="en", labels=labels, rows=(1, 3))
    assert [each.id for each in found.sentences] == ["en-000001", "en-000002"] and found.num_there == 4
    with pytest.raises(DataError, match=r"line 8: tag '.-(NEW|PER)'"):
        read_conll(path, language="en", labels=labels, rows=(1, 4))


def test_a_tag_outside_of_the_labels_is_named(read):
    assert read(NER, labels=label_set(["PER", "LOC"], "iob2"))
    assert problems_of(read, NER, labels=label_set(["PER"], "iob2")) == [
        "line 4: tag 'B-LOC' is not one of B-PER, I-PER, O"
    ]
    assert read(NER, labels=label_set(["PER", "LOC"], "bioes"), target="bioes")


def test_a_given_scheme_is_kept_to(read):
    for bad_sequences in ("refuse", "repair"):
        assert problems_of(read, "a\tS-PER\n", scheme="iob2", bad_sequences=bad_sequences) == [
            "line 1: tag 'S-PER' is not of the scheme iob2: O, or one of B-, I- and a type"
        ]
    assert read("a\tO\nb\tI-PER\n", scheme="none").scheme == "none"
    assert read("a\tO\nb\tI-PER\n", scheme="iob1", target="iob2").sentences[0].tags == ("O", "B-PER")
    with pytest.raises(ValueError, match="chunks cannot be converted to plain tags"):
        TagFormat(target="none")


def test_all_problems_come_at_once_but_not_without_end(read):
    problems = problems_of(read, "a\tO\n" + "b\n" * 30)
    assert len(problems) == 11 and problems[-1] == "and 20 more"


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_conll(tmp_path / "none.tsv", language="en")


# Several languages ------------------------------------------------------------------------------------------------


def test_languages_are_read_from_a_file_each(write, tmp_path):
    write(NER, "panx/en.tsv")
    write("Köln\tB-LOC\n", "panx/de.tsv")
    found = read_languages(PANX, languages=["de", "en", "de"], folder=tmp_path, tag_format=TagFormat(target="bioes"))
    assert list(found) == ["de", "en"]
    assert found["de"].sentences[0].id == "de-000000" and found["de"].sentences[0].tags == ("S-LOC",)


def test_missing_languages_and_damaged_files_are_named_together(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAYKD_DATA", raising=False)
    write("a\tO\nb\n", "panx/en.tsv")
    with pytest.raises(DataError) as caught:
        read_languages(PANX, languages=["en", "de", "es"], folder=tmp_path)
    damaged, missing, also = caught.value.problems
    assert "panx/en.tsv: line 2: 1 tab-separated columns" in damaged
    assert missing.startswith("panx/de.tsv: not found; tried ")
    assert also == "not found in the same places: panx/es.tsv"


def test_several_languages_need_several_files(write, tmp_path):
    write(NER)
    assert list(read_languages(SourceRef(path="file.tsv"), languages=["en"], folder=tmp_path)) == ["en"]
    with pytest.raises(DataError, match=r"file\.tsv: several languages need \{language\} in its path"):
        read_languages(SourceRef(path="file.tsv"), languages=["en", "de"], folder=tmp_path)


# The Hub ----------------------------------------------------------------------------------------------------------


class Rows(list):
    """Rows with the names of their integer tags, as a data set of the Hub has them."""

    features = {"ner_tags": SimpleNamespace(feature=SimpleNamespace(names=["O", "B-PER", "I-PER"]))}  # noqa: RUF012


def test_rows_of_the_hub_with_numbers_or_strings_are_read():
    numbers = Rows([{"tokens": ["Al", "Be"], "ner_tags": [1, 2], "langs": ["en", "en"]}])
    strings = [{"tokens": ["en:Al", "en:Be"], "ner_tags": ["B-PER", "I-PER"]}]
    found = [from_hub_rows(rows, language="en", source="hub").sentences for rows in (numbers, strings)]
    assert found[0] == found[1]
    assert found[0][0].words == ("Al", "Be") and found[0][0].tags == ("B-PER", "I-PER")
    assert from_hub_rows([{"tokens": ["a"], "pos_tags": ["X"]}], language="en", source="hub").scheme == "none"
    words = from_hub_rows([{"tokens": ["a"]}], language="en", source="hub", tag_format=TagFormat(tag_column=None))
    assert words.sentences[0].tags == ()


def test_a_real_data_set_names_its_numbers():
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["O", "B-PER"])
    features = datasets.Features({"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(label)})
    rows = datasets.Dataset.from_list([{"tokens": ["Al"], "ner_tags": [1]}], features=features)
    assert from_hub_rows(rows, language="en", source="hub").sentences[0].tags == ("B-PER",)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"words": ["a"]}, "hub: row 0: needs lists `tokens` and one of ner_tags, pos_tags, upos, tags; has ['words']"),
        ({"tokens": ["a"]}, "hub: row 0: needs lists"),
        ({"tokens": [], "ner_tags": []}, "hub: row 0: needs lists"),
        ({"tokens": ["a"], "pos_tags": [3]}, "hub: row 0: pos_tags holds numbers without names: [3]"),
        ({"tokens": ["a"], "ner_tags": [3]}, "hub: row 0: ner_tags holds numbers without names: [3]"),
        ({"tokens": ["a", "b"], "ner_tags": [0]}, "hub: row 0: 2 words, 1 tags; each needs one, none empty"),
        ({"tokens": ["a", None], "ner_tags": [0, 0]}, "hub: row 0: 2 words, 2 tags"),
        ({"tokens": ["a"], "ner_tags": [2]}, "hub: row 0: tag 'I-PER' cannot be the first in iob2"),
    ],
)
def test_a_damaged_row_is_explained(row, problem):
    with pytest.raises(DataError) as caught:
        from_hub_rows(Rows([row]), language="en", source="hub", tag_format=TagFormat(scheme="iob2"))
    assert caught.value.problems[0].startswith(problem)


def test_the_hub_is_asked_where_there_is_no_file(public_hub, tmp_path):
    tables = {f"PAN-X.{each}": {"train": tagged(each, 2, "ner_tags", NER_CLASSES, [1, 0, 5])} for each in ("de", "en")}
    public_hub.add("google/xtreme", configured(tables))
    ref = SourceRef(path="none/{language}.tsv", hub="google/xtreme", hub_config="PAN-X.{language}", split="train")
    found = read_languages(ref, languages=["en", "de"], folder=tmp_path)
    assert found["de"].sentences[0].id == "de-000000" and found["de"].source == "none/de.tsv"
    assert rows_of(found["en"])[1] == [("en1", "B-PER"), ("x", "O"), ("y", "B-LOC")]


# Anything at all --------------------------------------------------------------------------------------------------


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(content="\n")
@given(content=st.text(st.sampled_from("ab#BIO-:ex \t\n\r\u2028\ufeff"), max_size=60) | st.text(max_size=30))
def test_any_text_is_read_or_refused_with_its_name(read, content):
    for options in ({}, {"bad_sequences": "repair", "target": "bioes"}, {"tag_column": None}):
        try:
            found = read(content.encode("utf-8", "surrogatepass"), **options)
        except DataError as error:
            assert all("file.tsv: " in line or line.startswith("and ") for line in error.problems)
        else:
            assert all(sentence.words and all(sentence.words) for sentence in found.sentences)
            assert all(first_bad(s.tags, found.target) is None for s in found.sentences if found.target)


CELL = st.text(st.characters(exclude_characters="\t\n\r\ufeff ", exclude_categories=["Cs"]), min_size=1, max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELL.filter(str.strip), min_size=1, max_size=4), min_size=1, max_size=4))
def test_whatever_the_words_are_a_file_with_tabs_gives_them_back(read, sentences):
    content = "\n".join("".join(f"{word}\tX\n" for word in words) for words in sentences)
    read_back = [list(sentence.words) for sentence in read(content, language="none").sentences]
    assert read_back == sentences


# Published files --------------------------------------------------------------------------------------------------


def test_published_ner_is_in_iob2_and_loses_nothing_in_other_schemes(real_data):
    paths = sorted(real_data.glob("panx/*.tsv"))
    assert len(paths) == 22
    for path in paths:
        found = read_conll(path, language=path.stem.partition("-")[2])
        assert (found.scheme, types_of((s.tags for s in found.sentences), "iob2")) == ("iob2", {"PER", "LOC", "ORG"})
        for tags in {sentence.tags for sentence in found.sentences}:
            for target in ("bioes", "iob1"):
                assert convert(convert(tags, "iob2", target), target, "iob2") == tags


def test_published_aspect_terms_have_no_types_left(real_data):
    sizes = {}
    for path in sorted(real_data.glob("semeval16/*.txt")):
        wanted = TagFormat(tag_column=1, types="drop", target="bioes")
        found = read_conll(path, language=path.stem.split("-")[1], tag_format=wanted)
        sizes[path.stem] = sum(len(spans(sentence.tags, "bioes")) for sentence in found.sentences)
        assert found.scheme == "io" and types_of((s.tags for s in found.sentences), "bioes") == {""}
    assert len(sizes) == 15 and sizes["gold-en-test"] == 612


def test_published_parts_of_speech_are_read_or_refused_by_line(real_data):
    refused = set()
    for path in sorted(real_data.glob("udpos/*.tsv")):
        try:
            found = read_conll(path, language=path.stem.partition("-")[2])
        except DataError as error:
            assert all(": line " in line for line in error.problems[:-1])
            refused.add(path.stem)
        else:
            assert found.scheme == "none" and len(types_of((s.tags for s in found.sentences), "none")) <= 17
    # The test files hold lines without a word or without a tag.
    assert refused <= {"test-fa", "test-fr", "test-he", "test-id"}
