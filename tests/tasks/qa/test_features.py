import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from raykd.data.examples import Answer, QAExample
from raykd.errors import DataError
from raykd.tasks.qa.features import NO_ANSWER, QAFeatures, build_features, with_questions

DEFAULTS = {"max_length": 64, "stride": 8, "max_question_length": 16, "no_answer": "drop"}


def example(
    context: str, answer: str | None = None, start: int | None = None, *, question="what", id_="q1"
) -> QAExample:
    """An example whose answer is the first occurrence of a text, or the one at `start`."""
    answers = ()
    if answer is not None:
        answers = (Answer(answer, context.index(answer) if start is None else start),)
    return QAExample(id_, question, context, answers, "en", "en")


def build(examples, tokenizer, **options) -> QAFeatures:
    examples = [examples] if isinstance(examples, QAExample) else examples
    return build_features(examples, tokenizer, **DEFAULTS | options)


def tokens_of(features: QAFeatures, row: int) -> np.ndarray:
    return features.tokens[features.bounds[row] : features.bounds[row + 1]]


def chars_of(features: QAFeatures, row: int) -> np.ndarray:
    """Character offsets of a window's context tokens."""
    first, past = features.context[row]
    return features.chars[features.bounds[row] + first : features.bounds[row] + past]


def gold_chars(features: QAFeatures, row: int) -> tuple[int, int]:
    first, last = features.gold[row] + features.bounds[row]
    return int(features.chars[first, 0]), int(features.chars[last, 1])


def gold_text(features: QAFeatures, row: int, context: str) -> str:
    start, end = gold_chars(features, row)
    return context[start:end].strip()


# One window -------------------------------------------------------------------------------------------------------


def test_a_window_of_known_tokens(wordpiece):
    features = build(example("the old city", "old"), wordpiece)
    text = wordpiece.convert_ids_to_tokens(features.tokens.tolist())
    assert text == ["[CLS]", "what", "[SEP]", "the", "old", "city", "[SEP]"]
    assert features.types.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert features.chars.tolist() == [[0, 0], [0, 0], [0, 0], [0, 3], [4, 7], [8, 12], [0, 0]]
    assert features.context.tolist() == [[3, 6]]
    assert features.gold.tolist() == [[4, 4]]
    assert (features.ids, features.lengths.tolist(), features.pad) == (("q1#0",), [7], 0)


def test_the_layout_of_xlm_r_has_two_separators_and_no_segments(sentencepiece):
    features = build(example("the old city", "old"), sentencepiece)
    text = sentencepiece.convert_ids_to_tokens(features.tokens.tolist())
    assert text == ["<s>", "▁what", "</s>", "</s>", "▁the", "▁old", "▁city", "</s>"]
    assert features.gold.tolist() == [[5, 5]]
    assert not features.has_types
    assert "token_type_ids" not in features.collate(np.array([0]))


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("the river", "the river"),
        ("北京是中国的首都。", "北京"),
        ("北京是中国的首都。", "中国"),
        ("北京是中国的首都。", "首都"),
        ("人口很多,北京很多", "很多,北"),
        ("กรุงเทพเป็นเมืองหลวง", "เมืองหลวง"),
        ("กรุงเทพ เป็นเมืองหลวง", "กรุงเทพ"),
        ("ab (1889), cd.", "1889"),
        ("überß é", "é"),
    ],
)
def test_a_gold_span_covers_the_answer_exactly_where_tokens_end_with_it(wordpiece, context, answer):
    features = build(example(context, answer), wordpiece)
    assert gold_text(features, 0, context) == answer


def test_in_the_middle_of_a_word_the_gold_span_is_the_tokens_that_touch_the_answer(wordpiece):
    context = "old answering city"  # answer ##ing
    features = build(example(context, "swer", context.index("swer")), wordpiece)
    assert gold_text(features, 0, context) == "answer"
    features = build(example(context, "wering ci"), wordpiece)
    assert gold_text(features, 0, context) == "answering city"


@pytest.mark.parametrize("occurrence", [0, 1, 2])
def test_a_repeated_string_is_hit_where_the_answer_is(tokenizer, occurrence):
    context = "北京 the city 北京 the river 北京"
    starts = [0, 12, 25]
    assert all(context[start:].startswith("北京") for start in starts)
    features = build(example(context, "北京", starts[occurrence]), tokenizer)
    start, end = gold_chars(features, 0)
    assert start <= starts[occurrence] < end
    assert context[start:end].strip() == "北京"


def test_the_first_of_several_answers_is_the_label(wordpiece):
    one = QAExample("q1", "what", "the old city", (Answer("city", 8), Answer("old", 4)), "en", "en")
    assert build(one, wordpiece).gold.tolist() == [[5, 5]]


TEXT = st.text(st.sampled_from("ab Z9.,-éß北京中ก็าที่🙂\u00a0\t"), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(context=TEXT, question=TEXT, data=st.data())
def test_whatever_the_text_gold_tokens_contain_the_answer(tokenizer, context, question, data):
    start = data.draw(st.integers(0, len(context) - 1))
    end = data.draw(st.integers(start + 1, len(context)))
    text = context[start:end].strip()
    assume(text)
    start = context.index(text, start)
    end = start + len(text)
    features = build(example(context, text, start, question=question), tokenizer, no_answer="keep")
    holds = [row for row in range(len(features)) if features.gold[row, 0] != NO_ANSWER]
    assert holds
    for row in holds:
        first, past = gold_chars(features, row)
        assert first <= start
        assert past >= end
        left, right = features.gold[row]
        chars = features.chars[features.bounds[row] :]
        assert chars[left, 1] > start  # and no token more than needed
        assert chars[right, 0] < end


# Many windows -----------------------------------------------------------------------------------------------------

LONG = " ".join(f"city {number}." for number in range(60))
"""300 tokens of WordPiece or fewer: `city`, up to two digits and a full stop, 60 times."""


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(max_length=st.integers(32, 120), stride=st.integers(0, 20), question=st.sampled_from(["what", "where the city"]))
def test_every_context_token_is_in_a_window_and_neighbours_share_stride_tokens(wordpiece, max_length, stride, question):
    features = build(
        example(LONG, question=question), wordpiece, max_length=max_length, stride=stride, no_answer="keep"
    )
    all_tokens = [
        tuple(span) for span in wordpiece(LONG, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    ]
    windows = [[tuple(span) for span in chars_of(features, row).tolist()] for row in range(len(features))]
    joined = windows[0]
    for before, after in itertools.pairwise(windows):
        assert before[len(before) - stride :] == after[:stride]
        joined = joined + after[stride:]
    assert joined == all_tokens
    assert (features.lengths <= max_length).all()
    assert (features.lengths[:-1] == max_length).all()
    assert features.ids == tuple(f"q1#{number}" for number in range(len(features)))


def test_a_window_without_the_whole_answer_is_dropped_labelled_with_the_first_token_or_kept(tokenizer):
    item = example(LONG, "30")
    kept = build(item, tokenizer, no_answer="keep")
    labelled = build(item, tokenizer, no_answer="cls")
    dropped = build(item, tokenizer, no_answer="drop")
    start = LONG.index("30")
    edges = [(chars_of(kept, row)[0, 0], chars_of(kept, row)[-1, 1]) for row in range(len(kept))]
    holds = [first <= start and start + len("30") <= past for first, past in edges]
    assert 0 < sum(holds) < len(holds)
    for row, held in enumerate(holds):
        if held:
            assert gold_text(kept, row, LONG) in ("30", "30.")
            assert (labelled.gold[row] == kept.gold[row]).all()
        else:
            assert kept.gold[row].tolist() == [NO_ANSWER, NO_ANSWER]
            assert labelled.gold[row].tolist() == [0, 0]
    assert labelled.ids == kept.ids
    # A window keeps its number where others are dropped: signals are found by it.
    assert dropped.ids == tuple(kept.ids[row] for row, held in enumerate(holds) if held)


def test_an_answer_cut_by_the_edge_of_a_window_is_no_answer_there(wordpiece):
    # [CLS] what [SEP] + 12 context tokens + [SEP]; windows share no token: characters a to l, then m to x.
    context = " ".join("abcdefghijklmnopqrstuvwx")
    features = build(example(context, "l m"), wordpiece, max_length=16, stride=0, no_answer="keep")
    assert features.gold.tolist() == [[NO_ANSWER, NO_ANSWER]] * 2
    features = build(example(context, "l"), wordpiece, max_length=16, stride=0, no_answer="keep")
    assert features.gold.tolist() == [[14, 14], [NO_ANSWER, NO_ANSWER]]
    features = build(example(context, "m"), wordpiece, max_length=16, stride=0, no_answer="keep")
    assert features.gold.tolist() == [[NO_ANSWER, NO_ANSWER], [3, 3]]


def test_an_example_without_answers_has_windows_only_where_they_are_kept(wordpiece):
    item = example("the old city")
    assert build(item, wordpiece, no_answer="keep").gold.tolist() == [[NO_ANSWER, NO_ANSWER]]
    assert build(item, wordpiece, no_answer="cls").gold.tolist() == [[0, 0]]
    with pytest.raises(DataError, match="no window contains an answer"):
        build(item, wordpiece, no_answer="drop")


def test_windows_name_their_example(wordpiece):
    examples = [example("the city", "city", id_="a"), example(LONG, "59", id_="b"), example("old", "old", id_="c")]
    features = build(examples, wordpiece, no_answer="keep", max_length=128)
    assert features.example.tolist() == [0, *[1] * (len(features) - 2), 2]
    assert features.ids[:2] == ("a#0", "b#0")
    assert features.ids[-1] == "c#0"


def test_a_window_beyond_the_positions_of_the_model_is_refused(wordpiece):
    with pytest.raises(DataError, match=r"data\.max_length: got 129; the model reads at most 128 tokens"):
        build(example("the city", "city"), wordpiece, max_length=129)


def test_a_long_question_is_cut_at_the_end_of_a_token(tokenizer):
    question = "what old city where the answering river"
    features = build(example("the city", "city", question=question), tokenizer, max_question_length=6)
    first, _ = features.context[0]
    asked = tokenizer.decode(tokens_of(features, 0)[:first], skip_special_tokens=True)
    assert asked == "what old city where the answer"
    uncut = build(example("the city", "city", question=question), tokenizer, max_question_length=16)
    assert tokenizer.decode(tokens_of(uncut, 0)[: uncut.context[0, 0]], skip_special_tokens=True) == question


# Batches ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(wordpiece) -> QAFeatures:
    """Windows of 7, 5 and 6 tokens."""
    contexts = [("the old city", "old"), ("city", "city"), ("old river", "river")]
    return build([example(text, answer, id_=f"q{i}") for i, (text, answer) in enumerate(contexts)], wordpiece)


def test_a_batch_is_as_wide_as_its_widest_window(three):
    batch = three.collate(np.array([2, 1]))
    assert {name: list(tensor.shape) for name, tensor in batch.items()} == {
        "input_ids": [2, 6],
        "attention_mask": [2, 6],
        "token_type_ids": [2, 6],
        "context_mask": [2, 6],
        "gold": [2, 2],
    }
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]]
    assert batch["context_mask"].int().tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 0, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0]]
    assert batch["gold"].tolist() == [[4, 4], [3, 3]]
    assert batch["input_ids"][0].tolist() == tokens_of(three, 2).tolist()
    assert batch["input_ids"][1].tolist() == [*tokens_of(three, 1).tolist(), three.pad]


def test_a_batch_can_be_padded_to_a_width(three):
    batch = three.collate(np.array([0]), pad_to=10)
    assert batch["input_ids"].shape == (1, 10)
    assert batch["input_ids"][0, 7:].tolist() == [0, 0, 0]
    assert batch["attention_mask"].sum() == 7
    assert batch["context_mask"].sum() == 3


def test_the_types_of_a_batch_are_those_that_models_read(three):
    batch = three.collate(np.array([0, 1, 2]))
    kinds = {name: tensor.dtype for name, tensor in batch.items()}
    assert kinds.pop("context_mask") == torch.bool
    assert set(kinds.values()) == {torch.int64}


@given(indices=st.lists(st.integers(0, 2), min_size=1, max_size=6).map(np.array))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_windows_that_are_taken_make_the_same_batches(three, indices):
    taken = three.take(indices)
    assert taken.ids == tuple(three.ids[i] for i in indices)
    assert taken.example.tolist() == indices.tolist()
    expected, batch = three.collate(indices), taken.collate(np.arange(len(indices)))
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert (taken.chars == np.concatenate([three.chars[three.bounds[i] : three.bounds[i + 1]] for i in indices])).all()


def test_none_can_be_taken(three):
    assert len(three.take(np.array([], dtype=np.int64))) == 0


def test_the_hash_is_of_what_a_model_sees(wordpiece, three):
    again = build([example("the old city", "old", id_="q0")], wordpiece)
    assert again.sha256 == three.take(np.array([0])).sha256
    others = [
        build([example("the old city", "city", id_="q0")], wordpiece),
        build([example("the old river", "old", id_="q0")], wordpiece),
        build([example("the old city", "old", id_="q0", question="where")], wordpiece),
        build([example("the old city", "old", id_="q9")], wordpiece),
    ]
    assert len({again.sha256, *(other.sha256 for other in others)}) == 5


# Another question before the same context -------------------------------------------------------------------------


def test_other_questions_keep_context_tokens_one_to_one(tokenizer):
    examples = [example(LONG, "30", id_="a"), example("北京 the old city", "old", id_="b", question="where the city")]
    features = build(examples, tokenizer, no_answer="cls", max_length=48)
    questions = {0: "中国 the old river", 1: "what"}
    seen = with_questions(features, questions, tokenizer, max_question_length=16)
    assert (seen.ids, seen.example.tolist()) == (features.ids, features.example.tolist())
    asked = [build(example("x", "x", question=questions[number]), tokenizer) for number in (0, 1)]
    for row in range(len(features)):
        prefix = asked[features.example[row]]
        (first, past), (there, end) = features.context[row], seen.context[row]
        assert tokens_of(seen, row)[:there].tolist() == prefix.tokens[: prefix.context[0, 0]].tolist()
        assert tokens_of(seen, row)[there:].tolist() == tokens_of(features, row)[first:].tolist()
        assert end - there == past - first
        assert (chars_of(seen, row) == chars_of(features, row)).all()
        if features.gold[row, 0] > 0:
            assert gold_chars(seen, row) == gold_chars(features, row)
        else:
            assert seen.gold[row].tolist() == [0, 0]  # the first token stays the first
    same = with_questions(features, {0: "what", 1: "where the city"}, tokenizer, max_question_length=16)
    assert same.sha256 == features.sha256
    batch = same.collate(np.arange(len(same)))
    assert all(torch.equal(batch[name], value) for name, value in features.collate(np.arange(len(same))).items())


def test_a_window_without_a_label_has_none_before_another_question(wordpiece):
    features = build(example("the old city"), wordpiece, no_answer="keep")
    seen = with_questions(features, {0: "what the old city"}, wordpiece, max_question_length=16)
    assert seen.gold.tolist() == [[NO_ANSWER, NO_ANSWER]]


def test_other_questions_are_cut_too(wordpiece):
    features = build(example("the old city", "old"), wordpiece)
    seen = with_questions(features, {0: "where the old river city"}, wordpiece, max_question_length=4)
    text = wordpiece.convert_ids_to_tokens(seen.tokens.tolist())
    assert text == ["[CLS]", "where", "the", "old", "river", "[SEP]", "the", "old", "city", "[SEP]"]
    assert seen.gold.tolist() == [[7, 7]]
    assert seen.types.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
