"""Answers that are whole words."""

import re
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.data import smallworld
from raykd.data.examples import QAExample
from raykd.tasks.qa.decode import best_spans, top_spans
from raykd.tasks.qa.features import build_features, with_word_edges
from raykd.tasks.qa.whole_words import word_breaks


def parts(text: str) -> list[str]:
    """The text cut at every break."""
    at = np.flatnonzero(word_breaks(text)).tolist()
    return [text[first:past] for first, past in pairwise(at)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in Paris, 1843", ["in", " ", "Paris", ",", " ", "1843"]),
        ("state-of-the-art", ["state", "-", "of", "-", "the", "-", "art"]),
        ("हिन्दी में", ["हिन्दी", " ", "में"]),  # vowel signs and virama belong to the word
        ("अनुच्छेद", ["अनुच्छेद"]),
        ("Cafe\u0301s", ["Cafe\u0301s"]),
        ("北京2008年", ["北", "京", "2008", "年"]),
        ("กรุงเทพ", list("กรุงเทพ")),
        ("서울에서 왔다", ["서울에서", " ", "왔다"]),
        ("القاهرة؟", ["القاهرة", "؟"]),
        ("", []),
    ],
)
def test_words_are_parted_where_a_reader_parts_them(text, expected):
    assert parts(text) == expected


@given(st.text(alphabet="ab1 ,-", max_size=20))
def test_breaks_of_plain_text_are_those_of_a_regular_expression(text):
    expected = {0, len(text)} | {edge for found in re.finditer(r"[a-z0-9]+|.", text) for edge in found.span()}
    assert set(np.flatnonzero(word_breaks(text)).tolist()) == expected


@given(st.text(max_size=30))
def test_any_text_begins_and_ends_with_a_break(text):
    breaks = word_breaks(text)
    assert breaks.shape == (len(text) + 1,) and breaks[0] and breaks[-1]


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 9), st.integers(1, 5))
def test_whole_word_spans_are_those_of_brute_force(data, length, most):
    flags = st.lists(st.booleans(), min_size=length, max_size=length)
    logits = st.lists(st.integers(-3, 3), min_size=length, max_size=length)
    start, end = (torch.tensor(data.draw(logits)).float() for _ in range(2))
    mask, begins, ends = (torch.tensor(data.draw(flags)) for _ in range(3))
    edges = torch.stack([begins, ends], dim=1)
    allowed = [
        (start[first].item() + end[last].item(), first, last)
        for first, last in product(range(length), repeat=2)
        if 0 <= last - first < most and mask[first] and mask[last] and begins[first] and ends[last]
    ]
    expected = sorted(allowed, key=lambda span: (-span[0], span[1], span[2]))
    options = {"context_mask": mask, "word_edges": edges, "max_answer_tokens": most}
    spans = best_spans(start, end, offsets=torch.zeros(length, 2), n_best=99, **options)
    assert [(span.score, span.start_token, span.end_token) for span in spans] == expected
    batch = {name: value[None] if isinstance(value, torch.Tensor) else value for name, value in options.items()}
    score, first, last = (part.item() for part in top_spans(start[None], end[None], **batch))
    assert (score, first, last) == expected[0] if expected else score == -torch.inf


def test_a_word_is_not_cut_in_pieces(tokenizer):
    context = "the questioning city"
    example = QAExample("q", "what", context, (), "en", "en")
    options = {"max_length": 64, "stride": 8, "max_question_length": 8, "no_answer": "keep"}
    features = with_word_edges(build_features([example], tokenizer, **options), [example])
    batch = features.collate(np.array([0]), pad_to=60)
    pieces = [context[first:past].strip() for first, past in features.chars.tolist()]
    at = pieces.index("question")
    logits = torch.zeros(1, 60)
    logits[0, at] = 5.0
    options = {"context_mask": batch["context_mask"], "max_answer_tokens": 5}
    _, first, last = (part.item() for part in top_spans(logits, logits, **options))
    assert (first, last) == (at, at)
    _, first, last = (part.item() for part in top_spans(logits, logits, word_edges=batch["word_edges"], **options))
    assert context[features.chars[first, 0] : features.chars[last, 1]].strip() == "questioning"
    assert (
        features.take(np.array([0, 0]))
        .collate(np.array([1]))["word_edges"]
        .equal(features.collate(np.array([0]))["word_edges"])
    )


def test_every_gold_answer_of_the_built_in_world_is_whole_words(small_world_tokenizer):
    items = smallworld.parallel_items("dev", 6, languages=("en", "ar", "hi", "zh"))
    examples = [example for item in items.values() for example in item.values()]
    options = {"max_length": 96, "stride": 16, "max_question_length": 24, "no_answer": "keep"}
    features = with_word_edges(build_features(examples, small_world_tokenizer, **options), examples)
    rows = np.flatnonzero(features.gold[:, 0] >= 0)
    assert len(rows) >= len(examples)
    places = features.bounds[rows][:, None] + features.gold[rows]
    assert features.word_edges[places[:, 0], 0].all() and features.word_edges[places[:, 1], 1].all()


def test_without_the_option_batches_are_as_they_were(wordpiece):
    example = QAExample("q", "what", "the old city", (), "en", "en")
    features = build_features([example], wordpiece, max_length=32, stride=8, max_question_length=8, no_answer="keep")
    assert features.word_edges is None and "word_edges" not in features.collate(np.array([0]))
