"""A teacher's starts and ends on the pieces of a student with another tokenizer."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from raykd.data.examples import Answer, QAExample
from raykd.data.squad import read_squad
from raykd.errors import DataError
from raykd.tasks.qa.features import NO_ANSWER, QAFeatures, build_features
from raykd.tasks.qa.mapping import map_signals, mapped
from raykd.tasks.qa.terms import ABSENT, OUTPUTS

NONE = (NO_ANSWER, NO_ANSWER)
LN2, LN3, LN4, LN7 = (math.log(value) for value in (2, 3, 4, 7))


def windows(*pieces: list[tuple[int, int]], gold=NONE, example=None, ids=None) -> QAFeatures:
    """Windows of a question token, the context pieces that have these offsets, and an end token.

    Args:
        gold: the first and the last answer piece of the first window, counted from its first context piece.
    """
    number = len(pieces)
    lengths = [len(window) + 2 for window in pieces]
    golds = np.full((number, 2), NO_ANSWER, dtype=np.int32)
    if gold != NONE:
        golds[0] = np.array(gold) + 1
    example = np.array(example or [0] * number)
    return QAFeatures(
        ids=tuple(ids or [f"q{one}#{row}" for row, one in enumerate(example)]),
        example=example,
        bounds=np.concatenate([[0], np.cumsum(lengths)]),
        tokens=np.arange(sum(lengths)),
        types=np.zeros(sum(lengths), dtype=np.int8),
        chars=np.concatenate([np.array([(0, 0), *window, (0, 0)], dtype=np.int32) for window in pieces]),
        context=np.array([(1, length - 1) for length in lengths], dtype=np.int32),
        gold=golds,
        pad=0,
        has_types=False,
    )


def logits(*context: list[float], outside: float = 9.0) -> torch.Tensor:
    """Logits of such windows; those of the question and of the end token are `outside`."""
    return torch.tensor([value for window in context for value in (outside, *window, outside)])


def absent(*context: list[float]) -> list[float]:
    return logits(*context, outside=ABSENT).tolist()


def both(values: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"start": values, "end": values}


# Values by hand ---------------------------------------------------------------------------------------------------

WORDS = [(0, 3), (4, 7), (8, 12)]
"""The pieces of `the old city`."""


def test_logits_of_several_pieces_on_one_add_up_as_probabilities_do():
    read = windows([(0, 3), (4, 7), (8, 9), (9, 12)])
    found = map_signals(both(logits([0.0, LN2, LN3, LN4])), read, windows(WORDS))
    expected = pytest.approx(absent([0.0, LN2, LN7]), abs=1e-6)
    assert (found["start"].tolist(), found["end"].tolist()) == (expected, expected)
    assert {values.dtype for values in found.values()} == {torch.float32}


def test_a_start_goes_to_the_first_character_and_an_end_to_the_last():
    read = windows([(0, 3), (4, 12)])
    found = map_signals(both(logits([0.0, LN2])), read, windows(WORDS))
    assert found["start"].tolist() == pytest.approx(absent([0.0, LN2, ABSENT]))
    assert found["end"].tolist() == pytest.approx(absent([0.0, ABSENT, LN2]))


def test_a_piece_that_begins_with_a_space_is_the_word():
    read = windows([(0, 3), (3, 7), (7, 12)])
    values = both(logits([0.0, LN2, LN3]))
    for contexts in (None, {0: "the old city"}):
        found = map_signals(values, read, windows(WORDS), contexts=contexts)
        assert found["start"].tolist() == found["end"].tolist() == absent([0.0, *values["start"][2:4].tolist()])
        back = map_signals(values, windows(WORDS), read, contexts=contexts)
        assert back["start"].tolist() == back["end"].tolist() == absent([0.0, *values["start"][2:4].tolist()])


def test_a_piece_of_spaces_alone_takes_the_start_of_a_word_only_where_the_text_is_not_given():
    read, own = windows([(0, 3), (3, 7)]), windows([(0, 3), (3, 4), (4, 7)])
    values = both(logits([0.0, 1.0]))
    assert map_signals(values, read, own)["start"].tolist() == absent([0.0, 1.0, ABSENT])
    for space in (" ", "\u00a0", "\u3000"):
        found = map_signals(values, read, own, contexts={0: f"the{space}old"})
        assert found["start"].tolist() == absent([0.0, ABSENT, 1.0])
    # And one of the teacher's goes to the word behind it as a start, to the one before it as an end.
    found = map_signals(both(logits([0.0, 1.0, ABSENT])), own, windows([(0, 3), (4, 7)]), contexts={0: "the old"})
    assert found["start"].tolist() == absent([0.0, 1.0])
    assert found["end"].tolist() == pytest.approx(absent([math.log(1 + math.e), ABSENT]))


def test_a_character_that_no_piece_holds_is_the_next_one_for_a_start_and_the_previous_one_for_an_end():
    read = windows([(0, 3), (3, 5), (5, 8)])
    found = map_signals(both(logits([-30.0, 2.0, -30.0])), read, windows([(0, 3), (5, 8)]))
    assert found["start"].tolist() == pytest.approx(absent([-30.0, 2.0]))
    assert found["end"].tolist() == pytest.approx(absent([2.0, -30.0]))


def test_pieces_of_equal_offsets_move_one_to_one():
    bytes_of_one = [(0, 1), (0, 1), (0, 1), (1, 2)]
    same = map_signals(both(logits([1.0, 2.0, 3.0, 4.0])), windows(bytes_of_one), windows(bytes_of_one))
    assert same["start"].tolist() == same["end"].tolist() == absent([1.0, 2.0, 3.0, 4.0])
    fewer = map_signals(both(logits([5.0, -30.0, 1.0, 4.0])), windows(bytes_of_one), windows(bytes_of_one[1:]))
    assert fewer["start"].tolist() == pytest.approx(absent([5.0, math.log(math.exp(-30) + math.e), 4.0]))
    assert fewer["end"].tolist() == pytest.approx(absent([math.log(math.exp(5) + math.exp(-30)), 1.0, 4.0]))
    more = map_signals(both(logits([1.0, 4.0])), windows([(0, 1), (1, 2)]), windows(bytes_of_one))
    assert more["start"].tolist() == absent([1.0, ABSENT, ABSENT, 4.0])
    assert more["end"].tolist() == absent([ABSENT, ABSENT, 1.0, 4.0])


def test_what_lies_outside_of_the_window_is_dropped_and_counted():
    read, own = windows([(0, 2), (2, 4), (4, 6), (6, 8)]), windows([(3, 4), (4, 6)])
    report = mapped({"start": logits([LN3, LN2, 0.0, LN2]), "end": logits([0.0, 0.0, 0.0, 0.0])}, read, own)
    # The piece that the edge cuts belongs to the window. 3 + 2 + 1 + 2 parts, of which 2 + 1 stay; of ends 2 of 4.
    assert report.signals["start"].tolist() == pytest.approx(absent([LN2, 0.0]))
    assert report.kept.tolist() == [pytest.approx([3 / 8, 2 / 4])]
    assert report.share_kept == pytest.approx((3 / 8 + 2 / 4) / 2)
    assert (report.moved.tolist(), report.read.tolist(), report.silent) == ([2], [1.0], 0)


def test_a_window_of_which_the_teacher_has_no_piece_is_counted():
    report = mapped(both(logits([0.0, 1.0])), windows([(0, 2), (4, 6)]), windows([(2, 4)], [(0, 2)]))
    assert report.signals["start"].tolist() == absent([ABSENT], [0.0])
    assert (report.silent, report.moved.tolist()) == (1, [0, 1])
    assert report.kept[0].tolist() == [0.0, 0.0]


# The teacher's window ---------------------------------------------------------------------------------------------


def ten(first: int, past: int) -> list[tuple[int, int]]:
    """Pieces of ten characters."""
    return [(char, char + 10) for char in range(first, past, 10)]


@pytest.mark.parametrize(
    ("own", "chosen"),
    [
        ((0, 100), 0),
        ((60, 160), 1),  # 40, 60 and 60 characters shared; 110 is nearer to 150 than to 200
        ((110, 190), 1),  # whole in the last two; its middle, 150, is that of the second
        ((130, 180), 1),  # 155 is nearer to 150 than to 200
        ((150, 200), 1),  # 175 is as near to 150 as to 200: the first
        ((151, 201), 2),  # one character more is shared with the third
        ((290, 300), 2),
    ],
)
def test_the_teachers_window_is_the_one_that_shares_most_text_and_then_the_most_central_one(own, chosen):
    read = windows(ten(0, 100), ten(100, 200), ten(100, 300))
    report = mapped(both(torch.zeros(len(read.tokens))), read, windows([own]))
    assert report.windows.tolist() == [chosen]
    assert report.read.tolist() == [0.6 if own == (60, 160) else 1.0]


def test_windows_are_those_of_the_same_example():
    read = windows([(0, 5)], [(0, 9)], [(5, 9)], example=[1, 0, 1], ids=["b#0", "a#0", "b#1"])
    own = windows([(0, 9)], [(4, 9)], [(0, 4)], example=[0, 1, 1], ids=["a#0", "b#1", "b#0"])
    assert mapped(both(torch.zeros(len(read.tokens))), read, own).windows.tolist() == [1, 2, 0]


def test_of_windows_that_are_alike_the_one_of_the_same_id_is_taken():
    # The four bytes of one character, in windows of two.
    both_windows = windows([(0, 1), (0, 1)], [(0, 1), (0, 1)])
    assert mapped(both(torch.zeros(8)), both_windows, both_windows).windows.tolist() == [0, 1]


def test_an_example_that_the_teacher_did_not_read_is_refused_by_its_id():
    read = windows([(0, 5)], [(0, 5)], example=[0, 1], ids=["a#0", "b#0"])
    own = windows([(0, 5)], [(0, 5)], [(5, 9)], example=[0, 2, 2], ids=["a#0", "c#0", "c#1"])
    with pytest.raises(DataError, match=r"^c: the teacher has no window of 1 of 2 examples that the student"):
        map_signals(both(torch.zeros(6)), read, own)
    other = windows([(0, 5)], example=[1], ids=["a#0"])  # the id of another number
    with pytest.raises(DataError, match=r"^a: .* 1 of 1 examples"):
        map_signals(both(torch.zeros(6)), read, other)
    nothing = read.take(np.array([], dtype=np.int64))
    with pytest.raises(DataError, match=r"^a, b: .* 2 of 2 examples"):
        map_signals(both(torch.zeros(0)), nothing, read)


def test_no_windows_make_no_signals():
    read = windows([(0, 5)])
    report = mapped(both(torch.zeros(3)), read, read.take(np.array([], dtype=np.int64)), contexts={})
    assert report.signals["start"].shape == (0,)
    assert (report.share_kept, report.silent, report.golds_lost) == (1.0, 0, 0)


# The gold ---------------------------------------------------------------------------------------------------------


def test_the_teachers_gold_goes_to_the_students_whatever_the_characters_say():
    read = windows([(0, 3), (3, 12)], gold=(1, 1))  # `city` is in ` old city`
    values = both(logits([0.0, LN2]))
    assert map_signals(values, read, windows(WORDS, gold=(2, 2)))["start"].tolist() == pytest.approx(
        absent([0.0, ABSENT, LN2])
    )
    # Ends: the answer `the o` ends within ` old city` and within `old`.
    read, own = windows([(0, 3), (3, 12)], gold=(0, 1)), windows(WORDS, gold=(0, 1))
    assert map_signals(values, read, own)["end"].tolist() == pytest.approx(absent([0.0, LN2, ABSENT]))


@pytest.mark.parametrize("theirs", [NONE, (-1, -1), (1, 1)])
@pytest.mark.parametrize("mine", [NONE, (-1, -1), (2, 2)])
def test_a_gold_is_used_only_where_both_windows_have_it_in_their_contexts(theirs, mine):
    # (-1, -1) before the first context piece is the first token, the label of windows without an answer.
    values = both(logits([0.0, LN2]))
    report = mapped(values, windows([(0, 3), (3, 12)], gold=theirs), windows(WORDS, gold=mine))
    used = theirs == (1, 1) and mine == (2, 2)
    moved = [0.0, ABSENT, LN2] if used else [0.0, LN2, ABSENT]
    assert report.signals["start"].tolist() == pytest.approx(absent(moved))
    assert report.gold.tolist() == [[mine == (2, 2), used]]
    assert report.golds_lost == (mine == (2, 2) and not used)


# Tokenizers -------------------------------------------------------------------------------------------------------

SCRIPTS = {
    "latin": "aeioubcdłßéüñøœşğıąthing",
    "greek": "αβγδεζηθικάέήίόύώϊς",
    "cyrillic": "абвгдежзийклмнёіїўщ",
    "arabic": "ابتثجحخدذرزسش\u064e\u064f\u0651ةى",
    "hebrew": "אבגדהוזחטיכל\u05b8\u05bc\u05e9ם",
    "devanagari": "अआकखगघच\u093e\u093f\u0940\u094d\u0902रतम",
    "thai": "กขคงจฉชซ\u0e31\u0e34\u0e49เแไำ",
    "han": "北京是中国的首都人口很多江龍",
    "hangul": "한국어서울대학교\u1112\u1161\u11ab",
    "kana": "ひらがなカタカナーっｶﾞﾊﾟ",
    "signs": "🙂👩‍👧🇩🇪½ﬁⅣ②\u0301\u0308\u200b…«»e\u0301",
}


@st.composite
def texts(draw) -> str:
    """Words of one script or of several, with the spaces and signs of running text between them."""
    word = st.sampled_from(list(SCRIPTS.values())).flatmap(lambda script: st.text(script, min_size=1, max_size=7))
    between = st.sampled_from([" ", " ", " ", "", "  ", "\u00a0", ", ", ".\n", " (", "-", "。", "\t"])
    words = draw(st.lists(word, min_size=1, max_size=14))
    return "".join(part for one in words for part in (one, draw(between)))


@st.composite
def examples_of(draw) -> QAExample:
    """A question of two characters on such a text; one in four has no answer."""
    context = draw(texts())
    answers = ()
    if draw(st.integers(0, 3)):
        start = draw(st.integers(0, len(context) - 1))
        text = context[start : draw(st.integers(start + 1, min(len(context), start + 12)))].strip()
        answers = (Answer(text, context.index(text, start)),) if text else ()
    return QAExample("q", draw(st.sampled_from(["ab", "北", "é"])), context, answers, "en", "en")


def byte_level(*, trimmed: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE. Its pieces begin with a space, which their offsets hold where they are not trimmed."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"{text} {text[:3]} the city" for text in SCRIPTS.values()], trainer)
    layout = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    trim = [processors.ByteLevel(trim_offsets=True)] if trimmed else []
    tokenizer.post_processor = processors.Sequence([*trim, layout])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=128,
        model_input_names=["input_ids", "attention_mask"],
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
    )


@pytest.fixture(scope="module")
def tokenizers(wordpiece, sentencepiece) -> dict[str, PreTrainedTokenizerFast]:
    return {
        "wordpiece": wordpiece,
        "sentencepiece": sentencepiece,
        "bytes": byte_level(trimmed=True),
        "bytes and spaces": byte_level(trimmed=False),
    }


PAIRS = list(itertools.permutations(["wordpiece", "sentencepiece", "bytes", "bytes and spaces"], 2))
SHORT = st.fixed_dictionaries({"max_length": st.integers(16, 40), "stride": st.integers(0, 4)})


def build(examples, tokenizer, *, no_answer="keep", max_length=128, stride=0) -> QAFeatures:
    """Windows; examples in which the tokenizer finds nothing are assumed away."""
    options = {"max_length": max_length, "stride": stride, "max_question_length": 4}
    try:
        return build_features(examples, tokenizer, no_answer=no_answer, **options)
    except DataError:
        assume(False)
        raise


def random_signals(features: QAFeatures, *, seed: int, scale: float = 3.0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(len(features.tokens), generator=draw) for name in OUTPUTS}


def pieces_of(features: QAFeatures, row: int) -> list[tuple[int, int, int]]:
    """Place in the flat arrays, and offsets, of each context piece of a window."""
    first, past = (features.bounds[row] + features.context[row]).tolist()
    return [(place, *features.chars[place].tolist()) for place in range(first, past)]


def solid(pieces: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Those that hold a character; all if none does."""
    return [(place, first, past) for place, first, past in pieces if first < past] or pieces


def extent(pieces: list[tuple[int, int, int]]) -> tuple[int, int]:
    return min(first for _, first, _ in solid(pieces)), max(past for _, _, past in solid(pieces))


def targets(
    read: QAFeatures, own: QAFeatures, row: int, contexts: dict[int, str] | None
) -> tuple[int, dict[str, dict[int, int]]]:
    """The rules, character by character: the window that a window takes, and signal -> piece there -> piece here."""
    mine = pieces_of(own, row)
    low, high = extent(mine)

    def merit(other: int) -> tuple:
        left, right = extent(pieces_of(read, other))
        shared = min(high, right) - max(low, left)
        return shared, -abs(low + high - left - right), read.ids[other] == own.ids[row], -other

    chosen = max((other for other in range(len(read)) if read.example[other] == own.example[row]), key=merit)
    theirs = pieces_of(read, chosen)
    moves: dict[str, dict[int, int]] = {}
    for side, name in enumerate(OUTPUTS):
        moves[name] = {}
        for place, first, past in theirs:
            goal = _goal(place, (first, past), theirs, mine, side=side, text=contexts and contexts[own.example[row]])
            if goal is not None:
                moves[name][place] = goal
        golds = [features.gold[number] for features, number in ((read, chosen), (own, row))]
        spans = [features.context[number] for features, number in ((read, chosen), (own, row))]
        if all(span[0] <= boundary < span[1] for gold, span in zip(golds, spans, strict=True) for boundary in gold):
            moves[name][int(read.bounds[chosen] + golds[0][side])] = int(own.bounds[row] + golds[1][side])
    return chosen, moves


def _goal(place, offsets, theirs, mine, *, side, text) -> int | None:
    alike = [here for here, *span in mine if tuple(span) == offsets]
    if alike:
        rivals = [there for there, *span in theirs if tuple(span) == offsets]
        rank = rivals.index(place)
        return alike[min(rank, len(alike) - 1)] if side == 0 else alike[max(rank - len(rivals), -len(alike))]
    first, past = offsets
    if text is not None and text[first:past].strip():
        first, past = past - len(text[first:past].lstrip()), first + len(text[first:past].rstrip())
    low, high = extent(mine)
    if past <= low or first >= high:
        return None
    for char in range(first, high) if side == 0 else range(past - 1, low - 1, -1):
        if holders := [here for here, left, right in mine if left <= char < right]:
            return holders[0] if side == 0 else holders[-1]
    # No piece of the window has a character.
    return mine[-1][0] if side == 0 else mine[0][0]


def check_against_rules(signals, read, own, contexts) -> None:
    """Signals and report are those of the rules, in float64."""
    report = mapped(signals, read, own, contexts=contexts)
    for side, name in enumerate(OUTPUTS):
        expected = np.full(len(own.tokens), -np.inf)
        values = signals[name].double().numpy()
        for row in range(len(own)):
            chosen, moves = targets(read, own, row, contexts)
            assert report.windows[row] == chosen
            for there, here in moves[name].items():
                expected[here] = np.logaddexp(expected[here], values[there])
            odds = np.exp(values[[place for place, *_ in pieces_of(read, chosen)]])
            kept = np.exp(values[list(moves[name])]).sum() / odds.sum()
            assert report.kept[row, side] == pytest.approx(kept, abs=1e-9)
            assert report.moved[row] == len(moves[name])
        expected[np.isinf(expected)] = ABSENT
        np.testing.assert_allclose(report.signals[name].numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pair", PAIRS, ids=" to ".join)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(item=examples_of(), cuts=st.tuples(SHORT, SHORT), seed=st.integers(0, 99), data=st.data())
def test_signals_move_as_the_rules_say_whatever_the_text_and_the_cuts(tokenizers, pair, item, cuts, seed, data):
    read, own = (build([item], tokenizers[name], **cut) for name, cut in zip(pair, cuts, strict=True))
    contexts = data.draw(st.sampled_from([None, {0: item.context}]))
    check_against_rules(random_signals(read, seed=seed), read, own, contexts)


@pytest.mark.parametrize("name", ["wordpiece", "sentencepiece", "bytes", "bytes and spaces"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(examples_of(), min_size=1, max_size=3), cut=SHORT, seed=st.integers(0, 99), data=st.data())
def test_with_one_tokenizer_context_logits_stay_bit_for_bit(tokenizers, name, items, cut, seed, data):
    items = [replace(item, id=f"q{number}") for number, item in enumerate(items)]
    read = build(items, tokenizers[name], **cut)
    own = build(items, tokenizers[name], **cut, no_answer=data.draw(st.sampled_from(["drop", "cls", "keep"])))
    contexts = data.draw(st.sampled_from([None, {number: item.context for number, item in enumerate(items)}]))
    signals = random_signals(read, seed=seed)
    report = mapped(signals, read, own, contexts=contexts)
    assert [read.ids[row] for row in report.windows] == list(own.ids)
    assert (report.share_kept, report.silent, report.golds_lost) == (1.0, 0, 0)
    assert (report.read == 1).all()
    seen = read.take(report.windows)
    flat = np.concatenate([np.arange(read.bounds[row], read.bounds[row + 1]) for row in report.windows])
    context = np.zeros(len(own.tokens), dtype=bool)
    for row in range(len(own)):
        context[[place for place, *_ in pieces_of(own, row)]] = True
    assert seen.tokens.tolist() == own.tokens.tolist()
    for side in OUTPUTS:
        bits, before = (values.view(torch.int32) for values in (report.signals[side], signals[side]))
        assert torch.equal(bits[context], before[flat][context])
        assert (report.signals[side][~context] == ABSENT).all()


def softmax(values: torch.Tensor, features: QAFeatures) -> np.ndarray:
    """Probabilities of the first window's context pieces."""
    places = [place for place, *_ in pieces_of(features, 0)]
    return values[places].double().softmax(dim=0).numpy()


@pytest.mark.parametrize("pair", PAIRS, ids=" to ".join)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(item=examples_of(), seed=st.integers(0, 99))
def test_mass_is_kept_on_either_side_of_every_edge_that_no_piece_crosses(tokenizers, pair, item, seed):
    item = replace(item, answers=(), context=item.context[:40])
    read, own = (build([item], tokenizers[name]) for name in pair)
    assume(len(read) == len(own) == 1)
    signals = random_signals(read, seed=seed)
    report = mapped(signals, read, own)
    theirs, mine = (pieces_of(features, 0) for features in (read, own))
    low, high = extent(mine)
    assume(all(past > low and first < high for _, first, past in theirs))
    assert report.kept == pytest.approx(1.0, abs=1e-12)
    pieces = theirs + mine
    broken = {edge for _, first, past in pieces for edge in (range(first + 1, past) if first < past else [first])}
    for side, name in enumerate(OUTPUTS):
        before, after = softmax(signals[name], read), softmax(report.signals[name], own)
        assert after.sum() == pytest.approx(1.0, abs=1e-6)
        # Over a gap between two words starts move to the right, ends to the left.
        for edge in {span[1 - side] for _, *span in mine} - broken:
            left = [sum(p[[past <= edge for *_, past in each]]) for p, each in ((before, theirs), (after, mine))]
            assert left[0] == pytest.approx(left[1], abs=1e-6)


@pytest.mark.parametrize("pair", PAIRS, ids=" to ".join)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(item=examples_of(), cuts=st.tuples(SHORT, SHORT), seed=st.integers(0, 99))
def test_the_golds_mass_stays_at_the_gold(tokenizers, pair, item, cuts, seed):
    assume(item.answers)
    read, own = (build([item], tokenizers[name], **cut) for name, cut in zip(pair, cuts, strict=True))
    signals = random_signals(read, seed=seed)
    report = mapped(signals, read, own)
    assert (report.gold[:, 0] == (own.gold[:, 0] >= 0)).all()
    for row, chosen in enumerate(report.windows):
        if not report.gold[row, 1]:
            continue
        for side, name in enumerate(OUTPUTS):
            there, here = read.bounds[chosen] + read.gold[chosen, side], own.bounds[row] + own.gold[row, side]
            assert report.signals[name][here] >= signals[name][there] - 1e-5
            certain = {**signals, name: signals[name].clone()}
            certain[name][there] = 40.0
            places = [place for place, *_ in pieces_of(own, row)]
            assert places[int(map_signals(certain, read, own)[name][places].argmax())] == here


# Published tokenizers and texts -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mbert_and_xmini(tmp_path_factory):
    """Made once; see `real_tokenizers`."""
    return {}


@pytest.fixture
def real_tokenizers(real_data, mbert_and_xmini) -> dict[str, PreTrainedTokenizerFast]:
    """WordPiece of mBERT and Unigram of XLM-R's pieces, or a skip by name."""
    folder = real_data.parent / "models/xmini-qa-en"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    if not mbert_and_xmini:
        vocabulary = real_data / "tokenizers/mbert-cased/vocab.txt"
        mbert_and_xmini["mbert"] = BertTokenizer(vocab=str(vocabulary), do_lower_case=False)
        mbert_and_xmini["xmini"] = AutoTokenizer.from_pretrained(folder)
    return mbert_and_xmini


@pytest.mark.parametrize("pair", [("mbert", "xmini"), ("xmini", "mbert")], ids=" to ".join)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(item=examples_of(), cuts=st.tuples(SHORT, SHORT), seed=st.integers(0, 99))
def test_signals_move_between_published_tokenizers_as_the_rules_say(real_tokenizers, pair, item, cuts, seed):
    read, own = (build([item], real_tokenizers[name], **cut) for name, cut in zip(pair, cuts, strict=True))
    check_against_rules(random_signals(read, seed=seed), read, own, None)


@pytest.mark.parametrize("language", ["en", "de", "ar", "zh", "hi", "th"])
def test_published_questions_keep_their_mass_between_published_tokenizers(real_data, real_tokenizers, language):
    path = real_data / f"xquad/xquad.{language}.json"
    items = read_squad(path, question_language=language, context_language=language)[:20]
    options = {"max_length": 512, "stride": 64, "max_question_length": 64}
    read, own = (
        build_features(items, real_tokenizers[name], no_answer="keep", **options) for name in ("xmini", "mbert")
    )
    report = mapped(random_signals(read, seed=0), read, own)
    # Windows of mBERT, which cuts Thai into characters, hold half as much of it.
    assert report.share_kept > (0.5 if language == "th" else 0.97)
    assert report.silent == 0
    assert report.gold[:, 1].sum() > 0.9 * report.gold[:, 0].sum() > 0
