"""Retrieval against exact fractions in plain loops, and against numbers worked out by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.errors import DataError
from raykd.tasks.parallel.retrieval import retrieval_scores, retrieve, top1

NORTH, EAST, SOUTH, NORTH_EAST = (0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (1.0, 1.0)


def exact_closeness(query: list[int], key: list[int]) -> Fraction:
    """The sign and the square of the cosine times the length of the query: orders keys as the cosine does."""
    dot, length = sum(a * b for a, b in zip(query, key, strict=True)), sum(b * b for b in key)
    return Fraction(dot * abs(dot), length) if length else Fraction(0)


def plain_top1(queries: list[list[int]], keys: list[list[int]], same: list[int]) -> list[bool]:
    hits = []
    for index, query in enumerate(queries):
        right = max(exact_closeness(query, key) for key, text in zip(keys, same, strict=True) if text == same[index])
        wrong = [exact_closeness(query, key) for key, text in zip(keys, same, strict=True) if text != same[index]]
        hits.append(all(right > other for other in wrong))
    return hits


@st.composite
def integer_pairs(draw):
    number, width = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    vector = st.lists(st.integers(-3, 3), min_size=width, max_size=width)
    vectors = st.lists(vector, min_size=number, max_size=number)
    texts = st.lists(st.integers(0, 9), min_size=number, max_size=number)
    return draw(vectors), draw(vectors), draw(texts)


@settings(deadline=None)
@given(integer_pairs(), st.integers(1, 10))
def test_top1_is_that_of_exact_arithmetic_for_any_block(pairs, block):
    queries, keys, same = pairs
    q, k = np.array(queries, dtype=np.float32), np.array(keys, dtype=np.float32)
    assert top1(q, k, same=np.array(same), block=block).tolist() == plain_top1(queries, keys, same)
    alone = list(range(len(keys)))
    assert top1(q, k, block=block).tolist() == plain_top1(queries, keys, alone)


def test_a_key_that_many_queries_find_is_right_for_one_only():
    # All three queries are nearest to the first key, while each key is nearest to its own query.
    queries, keys = np.array([NORTH, (0.3, 1.0), (-0.3, 1.0)]), np.array([NORTH, EAST, (-1.0, 0.0)])
    assert top1(queries, keys).tolist() == [True, False, False]
    assert top1(keys, queries).all()


def test_a_tie_with_another_text_is_a_miss_and_one_with_the_same_text_is_not():
    queries, keys = np.array([NORTH, EAST, SOUTH]), np.array([NORTH, EAST, EAST])
    assert top1(queries, keys).tolist() == [True, False, False]
    # The third query is as far from the second key as from the third, and nothing of its text is nearer.
    assert top1(queries, keys, same=np.array([0, 1, 1])).all()
    assert top1(queries, keys, same=np.array([0, 1, 0])).tolist() == [True, False, False]


@pytest.mark.parametrize("number", [5, 33, 1500])
def test_an_encoder_that_says_the_same_of_all_sentences_scores_nothing(number):
    vectors = np.tile(np.random.default_rng(0).normal(size=(1, 384)), (number, 1))
    assert not top1(vectors, vectors).any()
    assert not top1(np.zeros((number, 384)), vectors).any()


def test_the_length_of_a_vector_does_not_matter_and_half_precision_will_do():
    rng = np.random.default_rng(1)
    keys = rng.normal(size=(40, 16))
    queries = keys + 0.7 * rng.normal(size=keys.shape)
    expected = top1(queries, keys)
    assert 8 < expected.sum() < 40
    assert np.array_equal(top1(queries * rng.uniform(0.01, 50, size=(40, 1)), keys * 1e-3), expected)
    assert (top1(queries.astype(np.float16), keys.astype(np.float16)) != expected).sum() <= 2


def test_each_language_is_scored_in_both_directions():
    english, other = np.array([NORTH, EAST, (-1.0, 0.0)]), np.array([NORTH, (0.3, 1.0), (-0.3, 1.0)])
    cells = retrieval_scores(retrieve({"de": (english, other), "es": (english[:2], english[:2])}))
    assert list(cells) == ["de", "es"]
    assert cells["de"]["to_english"] == pytest.approx(100 / 3)
    assert cells["de"]["from_english"] == pytest.approx(100)
    assert cells["de"]["retrieval"] == pytest.approx(200 / 3)
    assert cells["es"] == {"to_english": 100, "from_english": 100, "retrieval": 100, "num_pairs": 2}


def test_texts_that_repeat_on_one_side_are_right_on_that_side_only():
    english, other = np.array([NORTH, NORTH, EAST]), np.array([NORTH, NORTH_EAST, EAST])
    vectors = {"de": (english, other)}
    texts = {"de": (["Hello.", "Hello.", "Bye."], ["Hallo.", "Guten Tag.", "Ade."])}
    assert retrieval_scores(retrieve(vectors))["de"]["to_english"] == pytest.approx(100 / 3)
    scored = retrieval_scores(retrieve(vectors, texts=texts))["de"]
    # Queries 2 and 3: north-east is as near to east as to north, and east finds its own.
    assert scored["to_english"] == pytest.approx(200 / 3)
    # One vector for both greetings cannot find both of their translations.
    assert scored["from_english"] == pytest.approx(200 / 3)


def test_every_language_without_pairs_or_texts_is_named():
    some, none = np.array([NORTH, EAST]), np.zeros((0, 2))
    with pytest.raises(DataError) as error:
        retrieve(
            {"de": (some, some), "el": (none, none), "hi": (none, none)},
            texts={"el": ([], []), "hi": ([], [])},
        )
    assert [line.split(":")[0] for line in error.value.problems] == ["el", "hi", "de"]
    with pytest.raises(DataError, match="at least one"):
        top1(none, none)


def test_shapes_and_numbers_that_do_not_fit_are_errors():
    two, three = np.array([NORTH, EAST]), np.array([NORTH, EAST, SOUTH])
    with pytest.raises(ValueError, match=r"\[2, 2\] and \[3, 2\]; both must be \[N, H\]"):
        top1(two, three)
    with pytest.raises(ValueError, match=r"same: got \[3\]; it must be \[2\]"):
        top1(two, two, same=np.arange(3))
    with pytest.raises(ValueError, match="not finite"):
        top1(two, np.array([NORTH, (np.nan, 0.0)]))
