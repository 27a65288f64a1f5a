"""Schemes against each other, against words counted by hand, and against every sequence of a small label set."""

import subprocess
import sys
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.data.tags import (
    SCHEMES,
    TagError,
    convert,
    detect,
    encode,
    first_bad,
    label_set,
    named_labels,
    repair,
    spans,
    transitions,
    types_of,
)

LOSSLESS = ("iob1", "iob2", "bioes")
CHUNKED = (*LOSSLESS, "io")


@st.composite
def chunkings(draw):
    """A length and chunks in it; often side by side and of the same type."""
    chunks, position = [], draw(st.integers(0, 2))
    for _ in range(draw(st.integers(0, 6))):
        last = position + draw(st.integers(0, 3))
        chunks.append((draw(st.sampled_from(["", "PER", "LOC", "CORP-X", "é ß"])), position, last))
        position = last + 1 + draw(st.sampled_from([0, 0, 1, 2]))
    return position + draw(st.integers(0, 2)), chunks


def test_a_sentence_in_every_scheme():
    # Two towns side by side, a word outside, a person of three words.
    chunks = [("LOC", 0, 0), ("LOC", 1, 2), ("PER", 4, 6)]
    written = {scheme: " ".join(encode(chunks, 7, scheme)) for scheme in CHUNKED}
    assert written == {
        "iob1": "I-LOC B-LOC I-LOC O I-PER I-PER I-PER",
        "iob2": "B-LOC B-LOC I-LOC O B-PER I-PER I-PER",
        "bioes": "S-LOC B-LOC E-LOC O B-PER I-PER E-PER",
        "io": "I-LOC I-LOC I-LOC O I-PER I-PER I-PER",
    }
    assert spans(written["io"].split(), "io") == [("LOC", 0, 2), ("PER", 4, 6)]


@settings(deadline=None)
@given(chunkings(), st.sampled_from(LOSSLESS), st.sampled_from(LOSSLESS))
def test_any_chunks_survive_any_way_there_and_back(chunking, source, target):
    length, chunks = chunking
    tags = encode(chunks, length, source)
    assert spans(tags, source) == chunks
    assert first_bad(tags, source) is None
    there = convert(tags, source, target)
    assert there == encode(chunks, length, target)
    assert convert(there, target, source) == tags
    assert repair(tags, source) == (tags, 0)
    assert types_of([tags], source) == {kind for kind, _, _ in chunks}
    assert set(tags) <= set(label_set(types_of([tags], source), source))


@settings(deadline=None)
@given(chunkings())
def test_io_merges_neighbours_of_one_type_and_nothing_else(chunking):
    length, chunks = chunking
    merged = []
    for kind, first, last in chunks:
        if merged and merged[-1][0] == kind and merged[-1][2] == first - 1:
            merged[-1] = (kind, merged[-1][1], last)
        else:
            merged.append((kind, first, last))
    assert spans(encode(chunks, length, "io"), "io") == merged


@pytest.mark.parametrize("scheme", CHUNKED)
def test_a_sequence_is_legal_exactly_if_it_is_what_its_chunks_are_written_as(scheme):
    labels = label_set(["A", "B"], scheme)
    allowed = transitions(labels, scheme)
    for length in range(1, 5 if scheme != "bioes" else 4):
        for numbers in product(range(len(labels)), repeat=length):
            tags = tuple(labels[number] for number in numbers)
            mended, changed = repair(tags, scheme)
            is_path = allowed.start[numbers[0]] and allowed.end[numbers[-1]]
            is_path &= all(allowed.between[a, b] for a, b in pairwise(numbers))
            assert (first_bad(tags, scheme) is None) == (mended == tags) == is_path == (changed == 0)
            assert first_bad(mended, scheme) is None
            assert spans(mended, scheme) == spans(tags, scheme)


@pytest.mark.parametrize(
    ("scheme", "tags", "position", "problem"),
    [
        ("iob2", "O I-PER", 1, "tag 'I-PER' cannot follow 'O' in iob2"),
        ("iob2", "B-PER I-LOC", 1, "tag 'I-LOC' cannot follow 'B-PER' in iob2"),
        ("iob2", "I-PER", 0, "tag 'I-PER' cannot be the first in iob2"),
        ("iob1", "I-PER O B-PER", 2, "tag 'B-PER' cannot follow 'O' in iob1"),
        ("bioes", "B-PER O", 1, "tag 'O' cannot follow 'B-PER' in bioes"),
        ("bioes", "S-PER E-PER", 1, "tag 'E-PER' cannot follow 'S-PER' in bioes"),
        ("bioes", "O B-PER", 1, "tag 'B-PER' cannot be the last in bioes"),
        ("iob2", "O S-PER", 1, "tag 'S-PER' is not of the scheme iob2: O, or one of B-, I- and a type"),
        ("io", "PER", 0, "tag 'PER' is not of the scheme io: O, or one of I-, T- and a type"),
    ],
)
def test_the_first_bad_position_is_named(scheme, tags, position, problem):
    assert first_bad(tags.split(), scheme) == (position, problem)


@pytest.mark.parametrize(
    ("scheme", "tags", "mended", "changed"),
    [
        ("iob2", "O I-PER I-PER", "O B-PER I-PER", 1),
        ("iob2", "B-PER I-LOC", "B-PER B-LOC", 1),
        ("iob1", "O B-PER", "O I-PER", 1),
        ("bioes", "B-PER O I-PER I-PER", "S-PER O B-PER E-PER", 3),
        ("bioes", "E-PER E-PER", "S-PER S-PER", 2),
        ("none", "I-PER X", "I-PER X", 0),
    ],
)
def test_a_bad_sequence_is_mended_to_the_chunks_that_conlleval_reads(scheme, tags, mended, changed):
    assert repair(tags.split(), scheme) == (tuple(mended.split()), changed)


@pytest.mark.parametrize(
    ("sequences", "scheme"),
    [
        (["B-PER I-PER O", "O B-LOC"], "iob2"),
        (["I-PER B-PER O"], "iob1"),
        (["I-PER I-PER O"], "io"),
        (["O T-NEG T-NEG", "T-POS"], "io"),
        (["S-PER O"], "bioes"),
        (["B I E O S"], "bioes"),
        (["B I O B"], "iob2"),
        (["O O"], "iob2"),
        (["B-PER O", "O I-PER"], "iob2"),  # a slip
        (["NOUN X PUNCT", "ADJ"], "none"),
    ],
)
def test_a_scheme_is_found_out(sequences, scheme):
    assert detect(tags.split() for tags in sequences) == scheme


@pytest.mark.parametrize("tags", ["O B-PER L-PER", "O U-PER", "O B-PER NOUN"])
def test_tags_of_an_unknown_scheme_are_not_guessed(tags):
    with pytest.raises(TagError, match="no known scheme; use `scheme: none`") as caught:
        detect([["O"], tags.split()])
    assert caught.value.position == len(tags.split())  # the last word, after one of the sentence before


@pytest.mark.parametrize("scheme", LOSSLESS)
@settings(deadline=None)
@given(chunking=chunkings())
def test_the_scheme_that_is_found_out_reads_the_same_chunks(scheme, chunking):
    length, chunks = chunking
    tags = encode(chunks, length, scheme)
    assert spans(tags, detect([tags])) == chunks


def test_the_labels_of_types_have_an_order_of_their_own():
    assert label_set(["PER", "LOC", "PER"], "bioes") == (
        "O", "B-LOC", "I-LOC", "E-LOC", "S-LOC", "B-PER", "I-PER", "E-PER", "S-PER",
    )  # fmt: skip
    assert label_set({"PER", "LOC"}, "iob2") == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert label_set(["TERM"], "io") == ("O", "I-TERM")
    assert label_set([""], "bioes") == ("O", "B", "I", "E", "S")
    assert label_set(["VERB", "NOUN"], "none") == ("NOUN", "VERB")


def test_labels_are_named_by_types_or_by_tags():
    expected = label_set(["LOC", "PER"], "bioes")
    for names in (["PER", "LOC"], ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], ["S-PER", "LOC"]):
        assert named_labels(names, "bioes") == expected
    assert named_labels(["VERB", "B-X", "O"], "none") == ("B-X", "O", "VERB")


def test_the_masks_of_bioes_by_hand():
    allowed = transitions(("O", "B-X", "I-X", "E-X", "S-X"), "bioes")
    assert allowed.start.tolist() == [True, True, False, False, True]
    assert allowed.end.tolist() == [True, False, False, True, True]
    assert allowed.between.astype(int).tolist() == [
        [1, 1, 0, 0, 1],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 0],
        [1, 1, 0, 0, 1],
        [1, 1, 0, 0, 1],
    ]


def test_parts_of_speech_may_stand_anywhere():
    allowed = transitions(("NOUN", "I-X"), "none")
    assert allowed.start.all() and allowed.between.all() and allowed.end.all()
    assert spans(["NOUN", "NOUN"], "none") == [("NOUN", 0, 0), ("NOUN", 1, 1)]
    assert convert(["NOUN", "X"], "none", "none") == ("NOUN", "X")


def test_what_cannot_be_converted_is_refused():
    with pytest.raises(TagError, match="cannot follow 'O' in iob2") as caught:
        convert(["O", "I-PER"], "iob2", "bioes")
    assert caught.value.position == 1
    with pytest.raises(ValueError, match="none cannot become bioes"):
        convert(["NOUN"], "none", "bioes")
    with pytest.raises(TagError):
        transitions(["O", "S-X"], "iob2")
    with pytest.raises(TagError):
        spans(["O", "S-X"], "iob2")


@pytest.mark.parametrize("chunks", [[("A", 0, 1), ("A", 1, 2)], [("A", 1, 1), ("A", 0, 0)], [("A", 2, 3)]])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_chunks_that_overlap_or_leave_the_sentence_are_refused(chunks, scheme):
    with pytest.raises(ValueError, match=r"overlaps|one word"):
        encode(chunks, 3, scheme)


def test_a_scheme_without_chunks_needs_a_tag_for_every_word():
    with pytest.raises(ValueError, match="2 words have no tag"):
        encode([("NOUN", 0, 0)], 3, "none")


def test_tags_need_no_torch():
    code = "import sys, raykd.data.tags; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
