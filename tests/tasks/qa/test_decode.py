import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.tasks.qa.decode import best_spans, top_spans

torch.set_num_threads(1)


def word_offsets(length: int) -> torch.Tensor:
    """Tokens of two characters, one space apart."""
    return torch.tensor([[3 * position, 3 * position + 2] for position in range(length)]).reshape(length, 2)


@st.composite
def features(draw):
    # Few distinct values, so that equal scores are common.
    length = draw(st.integers(1, 12))
    values = st.lists(st.integers(-3, 3), min_size=length, max_size=length)
    mask = draw(st.lists(st.booleans(), min_size=length, max_size=length))
    return torch.tensor(draw(values)).float(), torch.tensor(draw(values)).float(), torch.tensor(mask)


def all_spans(start_logits, end_logits, mask, max_answer_tokens) -> list[tuple[float, int, int]]:
    """Every allowed span, best first, the earlier and shorter one first among equals."""
    length = len(start_logits)
    allowed = [
        (start_logits[start].item() + end_logits[end].item(), start, end)
        for start in range(length)
        for end in range(start, min(start + max_answer_tokens, length))
        if mask[start] and mask[end]
    ]
    return sorted(allowed, key=lambda span: (-span[0], span[1], span[2]))


@settings(max_examples=200, deadline=None)
@given(features(), st.integers(1, 15), st.integers(1, 40))
def test_the_best_spans_are_those_of_brute_force(feature, max_answer_tokens, n_best):
    start_logits, end_logits, mask = feature
    offsets = word_offsets(len(mask))
    spans = best_spans(
        start_logits,
        end_logits,
        offsets=offsets,
        context_mask=mask,
        n_best=n_best,
        max_answer_tokens=max_answer_tokens,
    )
    expected = all_spans(start_logits, end_logits, mask, max_answer_tokens)[:n_best]
    assert [(span.score, span.start_token, span.end_token) for span in spans] == expected
    assert all(span.start_char == 3 * span.start_token for span in spans)
    assert all(span.end_char == 3 * span.end_token + 2 for span in spans)


@settings(max_examples=200, deadline=None)
@given(st.lists(features(), min_size=1, max_size=5), st.integers(1, 15))
def test_a_padded_batch_decodes_like_its_features_one_by_one(batch, max_answer_tokens):
    length = max(len(mask) for _, _, mask in batch)
    starts, ends = torch.full((2, len(batch), length), 99.0)
    masks = torch.zeros(len(batch), length, dtype=torch.bool)
    for row, (start_logits, end_logits, mask) in enumerate(batch):
        starts[row, : len(mask)], ends[row, : len(mask)], masks[row, : len(mask)] = start_logits, end_logits, mask
    found = top_spans(starts, ends, context_mask=masks, max_answer_tokens=max_answer_tokens)
    for score, start, end, feature in zip(*(part.tolist() for part in found), batch, strict=True):
        spans = best_spans(
            *feature[:2],
            offsets=word_offsets(len(feature[2])),
            context_mask=feature[2],
            n_best=1,
            max_answer_tokens=max_answer_tokens,
        )
        if spans:
            assert (score, start, end) == (spans[0].score, spans[0].start_token, spans[0].end_token)
        else:
            assert score == -torch.inf


def test_a_span_never_ends_before_it_starts():
    start_logits, end_logits = torch.tensor([0.0, 0.0, 9.0, 0.0]), torch.tensor([9.0, 0.0, 0.0, 1.0])
    mask = torch.ones(4, dtype=torch.bool)
    (span,) = best_spans(start_logits, end_logits, offsets=word_offsets(4), context_mask=mask, n_best=1)
    assert (span.score, span.start_token, span.end_token, span.start_char, span.end_char) == (10.0, 2, 3, 6, 11)


@pytest.mark.parametrize(("max_answer_tokens", "expected_end"), [(30, 29), (31, 30)])
def test_an_answer_has_no_more_tokens_than_allowed(max_answer_tokens, expected_end):
    start_logits, end_logits = torch.zeros(1, 40), torch.zeros(1, 40)
    start_logits[0, 0], end_logits[0, 29], end_logits[0, 30] = 10.0, 5.0, 6.0
    mask = torch.ones(1, 40, dtype=torch.bool)
    scores, starts, ends = top_spans(start_logits, end_logits, context_mask=mask, max_answer_tokens=max_answer_tokens)
    assert (starts.item(), ends.item()) == (0, expected_end)
    assert scores.item() == 10 + end_logits[0, expected_end]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_of_any_size_are_added_in_float32(dtype):
    logits = torch.tensor([[6e4, -6e4, 6e4]]).to(dtype)
    mask = torch.ones(1, 3, dtype=torch.bool)
    scores, starts, ends = top_spans(logits, logits, context_mask=mask, max_answer_tokens=2)
    assert (scores.item(), starts.item(), ends.item()) == (2 * logits[0, 0].item(), 0, 0)


def test_wrong_input_is_refused():
    logits, mask = torch.zeros(1, 4), torch.ones(1, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="max_answer_tokens: got 0"):
        top_spans(logits, logits, context_mask=mask, max_answer_tokens=0)
    with pytest.raises(ValueError, match="must be the same"):
        top_spans(logits, torch.zeros(1, 5), context_mask=mask)
    with pytest.raises(ValueError, match="n_best: got 0"):
        best_spans(logits[0], logits[0], offsets=word_offsets(4), context_mask=mask[0], n_best=0)
