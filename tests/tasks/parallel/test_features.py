import time
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from raykd.data.examples import SentencePair
from raykd.errors import DataError
from raykd.tasks.parallel.features import PairCounts
from raykd.tasks.parallel.windows import build_pair_features
from raykd.tasks.word_pieces import words_of

CPU_SECONDS_OF_A_STEP = 0.015
WORDS = ["the", "city", "river", "Kalomir", "1987", "unanswerable", "old", ",", "question", "Wxyz"]
OTHERS = [*WORDS, "Fluss", "città", "中国", "กรุงเทพ"]


@pytest.fixture(scope="session")
def student(small_world_tokenizer) -> PreTrainedTokenizerFast:
    return small_world_tokenizer


@pytest.fixture(params=["wordpiece", "sentencepiece", "student"])
def teacher(request) -> PreTrainedTokenizerFast:
    return request.getfixturevalue(request.param)


def pair(english: str, other: str, id_="p0", language="de") -> SentencePair:
    return SentencePair(id_, language, english, other)


def many(number: int, *, seed: int = 0, words: int = 12) -> list[SentencePair]:
    """Pairs of random sentences, some of which share their English one."""
    generator = np.random.default_rng(seed)
    found = []
    for index in range(number):
        english = " ".join(generator.choice(WORDS, generator.integers(1, words + 1)))
        if index % 5 == 4:
            english = found[-1].english
        other = " ".join(generator.choice(OTHERS, generator.integers(1, words + 1)))
        found.append(pair(english, other, f"p{index}", ("de", "it", "th")[index % 3]))
    return found


def flat(words: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(words))


def pieces(words: list[str], tokenizer) -> list[list[int]]:
    """Those of each word, one word after the other."""
    return [tokenizer([word], is_split_into_words=True, add_special_tokens=False)["input_ids"] for word in words]


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


# Layout -----------------------------------------------------------------------------------------------------------


def test_a_pair_has_its_layout(student, wordpiece):
    one = pair("the river, 1987", "中国 Fluss")
    features = build_pair_features([one], student, wordpiece, max_length=64)
    batch = features.collate(np.array([0]))
    english, other = (flat(pieces(words_of(text), student)) for text in (one.english, one.other))
    cls, sep = student.cls_token_id, student.sep_token_id
    together = [cls, *english, sep, *other, sep]
    assert features.lengths.tolist() == [len(together)] and len(features) == 1
    assert batch["x_ids"].tolist() == [[cls, *other, sep]] and batch["x_mask"].tolist() == [[1] * (len(other) + 2)]
    restored = batch["tlm_ids"].clone()
    restored[batch["tlm_rows"], batch["tlm_columns"]] = batch["tlm_labels"]
    assert restored.tolist() == [together]
    types = [0] * (len(english) + 2) + [1] * (len(other) + 1)
    assert batch["tlm_types"].tolist() == batch["context_types"].tolist() == [types]
    assert batch["context_ids"][0, len(english) + 1 :].tolist() == together[len(english) + 1 :]
    # A year is two pieces: CLS, the, river, comma, 19 ##87, SEP.
    lengths = [len(word) for word in pieces(words_of(one.english), student)]
    assert lengths == [1, 1, 1, 2]
    assert batch["word_first"].tolist() == [[0, 1, 2, 3, 4, 6]] and batch["word_mask"].all()
    assert features.word_counts.tolist() == features.english.word_counts.tolist() == [4]
    assert features.signal_lengths.tolist() == [5]
    assert features.counts.to_json() == {"pairs": 1, "empty": 0, "unmatched": 0, "cut": 0}


def test_a_student_like_xlm_r_has_one_separator_and_no_segments(sentencepiece, wordpiece):
    backend = sentencepiece.backend_tokenizer
    named = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "ก"}
    bare = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_input_names=["input_ids", "attention_mask"], model_max_length=64, **named
    )
    features = build_pair_features([pair("the city", "old river")], bare, wordpiece, max_length=64)
    batch = features.collate(np.array([0]))
    ids = batch["tlm_ids"].clone()
    ids[batch["tlm_rows"], batch["tlm_columns"]] = batch["tlm_labels"]
    assert bare.convert_ids_to_tokens(ids[0].tolist()) == ["<s>", "▁the", "▁city", "</s>", "▁old", "▁river", "</s>"]
    assert not any(name.endswith("types") for name in batch)
    assert "token_type_ids" in features.english.collate(np.array([0]))


def test_a_teacher_reads_each_english_sentence_once(student, teacher):
    pairs = [pair("old city", "a", "1"), pair("the river", "b", "2", "it"), pair("old city", "c", "3", "it")]
    features = build_pair_features(pairs, student, teacher, max_length=64)
    assert features.english_of.tolist() == [0, 1, 0] and len(features.english) == 2
    assert features.languages == ("de", "it") and features.language.tolist() == [0, 1, 1]
    read = features.english.collate(np.array([0]))["input_ids"][0].tolist()
    first, last = teacher.cls_token_id, teacher.sep_token_id
    assert read == [first, *flat(pieces(["old", "city"], teacher)), last]
    taken = features.take(np.array([2, 0]))
    assert taken.ids == ("3", "1") and taken.english_of.tolist() == [0, 0] and len(taken.english) == 1
    assert taken.english.ids == (features.english.ids[0],)


def test_a_batch_is_the_same_as_loops_make(student, wordpiece):
    features = build_pair_features(many(40), student, wordpiece, max_length=32)
    indices = np.array([7, 30, 4, 4, 12])
    batch = features.collate(indices)
    for row, index in enumerate(indices):
        start, ours, theirs = features.bounds[index], features.english_lengths[index], features.other_lengths[index]
        english = features.tokens[start : start + ours].tolist()
        other = features.tokens[start + ours : features.bounds[index + 1]].tolist()
        cls, sep = student.cls_token_id, student.sep_token_id
        together = [cls, *english, sep, *other[:theirs], sep]
        for name in ("tlm", "context"):
            length = int(batch[f"{name}_mask"][row].sum())
            assert length == len(together) == features.lengths[index]
            assert batch[f"{name}_mask"][row, :length].all()
            assert (batch[f"{name}_ids"][row, length:] == student.pad_token_id).all()
            assert batch[f"{name}_types"][row].tolist() == [
                int(len(english) + 1 < column < length) for column in range(batch[f"{name}_ids"].shape[1])
            ]
        assert batch["x_ids"][row, : len(other) + 2].tolist() == [cls, *other, sep]
        assert batch["x_mask"][row].sum() == len(other) + 2
        labels = dict(
            zip(
                batch["tlm_columns"][batch["tlm_rows"] == row].tolist(),
                batch["tlm_labels"][batch["tlm_rows"] == row].tolist(),
                strict=True,
            )
        )
        for column, true in enumerate(together):
            if column in labels:
                assert labels[column] == true and true not in (cls, sep)
            else:
                assert batch["tlm_ids"][row, column] == true
        words = features.word_counts[index]
        starts = features.word_starts[features.word_bounds[index] : features.word_bounds[index + 1]].tolist()
        first = [0, *(1 + at for at in starts), 1 + len(english)]
        assert batch["word_first"][row].tolist() == first + [0] * (batch["word_first"].shape[1] - words - 2)
        assert batch["word_mask"][row].sum() == words + 2 and batch["word_mask"][row, : words + 2].all()
        masked = batch["word_masked"][row]
        assert masked.sum() == max(1, min(words // 4, max(1, round(0.15 * words))))
        assert not masked[0] and not masked[words + 1 :].any()
        for word in range(words):
            if not masked[word + 1]:
                inside = slice(first[word + 1], first[word + 2])
                assert batch["context_ids"][row, inside].tolist() == together[inside]
        assert batch["context_ids"][row, len(english) + 1 : len(together)].tolist() == together[len(english) + 1 :]


def test_batches_are_padded_and_have_the_parts_that_were_asked_for(student, wordpiece):
    features = build_pair_features(many(5), student, wordpiece, max_length=48)
    everything = features.collate(np.arange(5))
    names = {"tlm": {"tlm_ids", "tlm_mask", "tlm_types", "tlm_rows", "tlm_columns", "tlm_labels"}}
    names["sentence"] = {"x_ids", "x_mask"}
    names["word"] = {"context_ids", "context_mask", "context_types", "word_first", "word_mask", "word_masked"}
    for part, expected in names.items():
        batch = features.with_parts(frozenset({part})).collate(np.arange(5))
        assert set(batch) == expected
        assert all(torch.equal(tensor, everything[name]) for name, tensor in batch.items())
    assert set(everything) == set().union(*names.values())
    assert features.with_parts(frozenset()).sha256 == features.at(3, 4).sha256 == features.sha256
    wide = features.collate(np.arange(5), pad_to=48)
    for name in ("x", "tlm", "context"):
        assert wide[f"{name}_ids"].shape == wide[f"{name}_mask"].shape == (5, 48)
        assert wide[f"{name}_mask"].sum() == everything[f"{name}_mask"].sum()
    with pytest.raises(ValueError, match=r"unknown parts words; allowed: sentence, tlm, word"):
        features.with_parts(frozenset({"words", "tlm"}))


# What is dropped and what is cut ----------------------------------------------------------------------------------


def test_pairs_whose_words_do_not_match_are_dropped_and_counted(student, teacher):
    pairs = [
        pair("old \u200f city", "gut", "1"),
        pair("old city", "gut \u200f", "2"),
        pair("", "gut", "3"),
        pair("old", " \n", "4"),
        pair("old", "\u200f", "5"),
        pair("the city", "gut", "6"),
    ]
    features = build_pair_features(pairs, student, teacher, max_length=32)
    assert features.ids == ("2", "6") and features.english_of.tolist() == [0, 1]
    assert features.counts == PairCounts(pairs=6, empty=3, unmatched=1)
    assert features.word_counts.tolist() == [2, 2]
    with pytest.raises(DataError, match=r"no sentence pairs: 2 given, 1 empty, 1 with words that a tokenizer drops"):
        build_pair_features([pairs[0], pairs[2]], student, teacher, max_length=32)


def test_a_word_that_only_the_teacher_drops_drops_the_pair(sentencepiece, student, wordpiece):
    """XLM-R's kind makes a piece of what BERT's cleans away."""
    backend = {"tokenizer_object": sentencepiece.backend_tokenizer, "model_max_length": 64, "unk_token": "<unk>"}
    keeps = PreTrainedTokenizerFast(**backend, cls_token="<s>", sep_token="</s>", mask_token="ก")
    pairs = [pair("old \u0007 city", "gut", "1"), pair("the city", "gut", "2")]
    assert build_pair_features(pairs, keeps, keeps, max_length=32).counts.unmatched == 0
    assert build_pair_features(pairs, keeps, wordpiece, max_length=32).ids == ("2",)
    assert build_pair_features(pairs, student, keeps, max_length=32).ids == ("2",)


SENTENCE = st.lists(st.sampled_from(OTHERS), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SENTENCE, SENTENCE, st.integers(5, 40), st.integers(3, 20))
def test_cutting_keeps_whole_words_and_both_readers_have_them(
    student, wordpiece, english, other, max_length, teacher_max_length
):
    one = pair(" ".join(english), " ".join(other))
    options = {"max_length": max_length, "teacher_max_length": teacher_max_length}
    features = build_pair_features([one], student, wordpiece, **options)
    ours, theirs = (pieces(words_of(text), student) for text in (one.english, one.other))
    taught = pieces(words_of(one.english), wordpiece)

    teacher_words = max(
        [1, *(n for n in range(len(taught) + 1) if sum(map(len, taught[:n])) <= teacher_max_length - 2)]
    )
    assert features.english.word_counts.tolist() == [teacher_words]
    assert features.english.lengths[0] <= teacher_max_length

    half, room = (max_length - 3) // 2, max_length - 3
    first, second = int(features.english_lengths[0]), int(features.other_lengths[0])
    allowed = max(half, room - sum(map(len, theirs)))
    words = max([1, *(n for n in range(teacher_words + 1) if sum(map(len, ours[:n])) <= allowed)])
    assert features.word_counts.tolist() == [words]
    assert first == min(sum(map(len, ours[:words])), allowed)
    ends = [sum(map(len, theirs[:n])) for n in range(1, len(theirs) + 1)]
    assert second == max((end for end in ends if end <= room - first), default=room - first)
    assert features.lengths[0] == 3 + first + second <= max_length and min(first, second) >= 1
    alone = int(features.bounds[1]) - first
    assert alone == max((end for end in ends if end <= max_length - 2), default=max_length - 2) >= second
    assert features.tokens.tolist() == [*flat(ours)[:first], *flat(theirs)[:alone]]
    assert features.counts.cut == (first < sum(map(len, ours)) or second < sum(map(len, theirs)))
    batch = features.collate(np.array([0]))
    assert batch["word_masked"].shape == (1, words + 2)


def test_very_long_sentences_are_cut_and_masked_words_stay_inside(student, teacher):
    features = build_pair_features(many(30, words=900), student, teacher, max_length=128)
    assert features.lengths.max() <= 128 and features.counts.cut > 20
    batch = features.collate(np.arange(30))
    assert batch["context_ids"].shape[1] <= 128 and batch["x_ids"].shape[1] <= 128
    first = torch.where(batch["word_mask"], batch["word_first"], 0)
    assert (first.numpy() < features.lengths[:, None]).all()
    # The row of a teacher depends on the text alone, not on what the pairs have of it.
    few = features.take(np.array([3]))
    assert few.english.lengths[0] == features.english.lengths[features.english_of[3]]
    assert (features.english.word_counts[features.english_of] >= features.word_counts).all()


# Masks ------------------------------------------------------------------------------------------------------------


def test_words_are_masked_by_their_number_where_earlier_ones_have_several_pieces(student, wordpiece):
    """Masks that are numbered by pieces would name other words."""
    english = "Kalomir unanswerable 1987 the old city river question"
    features = build_pair_features([pair(english, "gut")], student, wordpiece, max_length=64)
    lengths = [len(word) for word in pieces(words_of(english), student)]
    assert lengths[0] > 1 and lengths[1] > 1 and sum(lengths) > len(lengths) + 2
    hidden: set[int] = set()
    for epoch in range(200):
        batch = features.at(0, epoch).collate(np.array([0]))
        masked = np.flatnonzero(batch["word_masked"][0]) - 1
        assert len(masked) == 1
        changed = batch["context_ids"][0, 1 : 1 + sum(lengths)].numpy() != features.tokens[: sum(lengths)]
        words = np.repeat(np.arange(8), lengths)[changed]
        assert set(words.tolist()) <= set(masked.tolist())
        hidden |= set(words.tolist())
    assert hidden == set(range(8))


def test_masks_depend_on_seed_epoch_and_pair_alone(student, wordpiece):
    features = build_pair_features(many(20), student, wordpiece, max_length=48).at(1, 2)
    together = features.collate(np.arange(20), pad_to=48)
    order = np.random.default_rng(3).permutation(20)
    shuffled = features.collate(order, pad_to=48)
    again = features.take(order).collate(np.argsort(order), pad_to=48)
    for name in ("x_ids", "tlm_ids", "context_ids", "word_first", "word_masked"):
        assert torch.equal(shuffled[name], together[name][order]) and torch.equal(again[name], together[name])
        alone = features.collate(np.array([5]), pad_to=48)[name][0]
        assert torch.equal(alone, together[name][5, : len(alone)])
    for name in ("tlm_rows", "tlm_columns", "tlm_labels"):
        assert torch.equal(again[name], together[name])
    for seed, epoch in [(1, 3), (2, 2), (2, 1)]:
        other = features.at(seed, epoch).collate(np.arange(20), pad_to=48)
        assert torch.equal(other["x_ids"], together["x_ids"])
        assert not torch.equal(other["tlm_ids"], together["tlm_ids"])
        assert not torch.equal(other["word_masked"], together["word_masked"])
    assert equal(features.at(2, 1).at(1, 2).collate(np.arange(20), pad_to=48), together)


def test_a_pair_has_the_masks_of_its_id_in_any_data_set(student, wordpiece):
    pairs = many(20)
    features = build_pair_features(pairs, student, wordpiece, max_length=48)
    smaller = build_pair_features(pairs[11:], student, wordpiece, max_length=48)
    assert equal(features.collate(np.arange(11, 20)), smaller.collate(np.arange(9)))
    renamed = build_pair_features([replace(one, id=f"{one.id}!") for one in pairs], student, student, max_length=48)
    assert not torch.equal(
        renamed.collate(np.arange(20))["word_masked"], features.collate(np.arange(20))["word_masked"]
    )


def test_labels_are_the_selected_pieces_alone_in_the_published_shares(student, wordpiece):
    features = build_pair_features(many(3000, words=20), student, wordpiece, max_length=128)
    long = np.flatnonzero(features.lengths > 25)
    batch = features.collate(long)
    rows, columns, labels = batch["tlm_rows"], batch["tlm_columns"], batch["tlm_labels"]
    now = batch["tlm_ids"][rows, columns]
    pieces_in_all = int((features.lengths[long] - 3).sum())
    assert abs(len(labels) / pieces_in_all - 0.15) < 0.01
    assert abs((now == student.mask_token_id).float().mean() - 0.8) < 0.02
    random = (now != student.mask_token_id) & (now != labels)
    assert abs(random.float().mean() - 0.1) < 0.015
    special = torch.tensor(student.all_special_ids)
    assert not torch.isin(now[random], special).any() and len(now[random].unique()) > 500
    assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == len(labels)
    restored = batch["tlm_ids"].clone()
    restored[rows, columns] = labels
    assert (restored == student.mask_token_id).sum() == 0
    words = batch["word_masked"].sum() / features.word_counts[long].sum()
    assert 0.1 < words < 0.2


def test_how_many_are_masked_in_a_step_is_known_without_its_batches(student, wordpiece):
    features = build_pair_features(many(50), student, wordpiece, max_length=48).at(7, 1)
    step = np.random.default_rng(0).permutation(50)[:30]
    parts = [features.collate(part) for part in np.array_split(step, 4)]
    found = sum(len(part["tlm_labels"]) for part in parts), sum(int(part["word_masked"].any(1).sum()) for part in parts)
    assert features.num_masked(step) == found
    assert min(len(part["tlm_rows"].unique()) for part in parts) == min(map(len, np.array_split(step, 4)))
    assert features.num_masked(step[:0]) == (0, 0)


def test_the_hash_tells_apart_what_models_see(student, wordpiece):
    def digest(*pairs: SentencePair, teacher=wordpiece, max_length=32) -> str:
        return build_pair_features(pairs, student, teacher, max_length=max_length).sha256

    one = pair("the old city", "ein Fluss")
    others = [replace(one, id="p1"), replace(one, language="it"), replace(one, english="the city old")]
    digests = [digest(one), *(digest(other) for other in [*others, replace(one, other="ein Fluss !")])]
    digests += [digest(one, teacher=student), digest(one, max_length=7), digest(one, others[0])]
    assert len(set(digests)) == len(digests) and digest(one) == digest(one, max_length=33)


# Mistakes ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_named(student, wordpiece):
    one, slow = pair("the city", "gut"), ByT5Tokenizer(mask_token="<extra_id_0>")
    for given_pairs, reader, teacher, options, problem in [
        ([one], wordpiece, student, {}, r"^tokenizer .*: has no mask token, which a student needs"),
        ([one], slow, student, {}, r"^tokenizer ByT5Tokenizer: is not a fast one"),
        ([one], student, slow, {}, r"^tokenizer ByT5Tokenizer: is not a fast one"),
        ([one], student, student, {"max_length": 4}, r"^max_length: got 4; tokenizer .* allows 5 to 512$"),
        ([one], student, student, {"max_length": 513}, r"^max_length: got 513; tokenizer"),
        ([one], student, wordpiece, {"teacher_max_length": 129}, r"^max_length: got 129; tokenizer .* 3 to 128$"),
        ([one, one], student, student, {}, r"^p0: occurs twice$"),
        ([], student, student, {}, r"^no sentence pairs: 0 given"),
    ]:
        with pytest.raises(DataError, match=problem) as raised:
            build_pair_features(given_pairs, reader, teacher, **{"max_length": 64} | options)
        assert len(raised.value.problems) == 1
    # Nobody asked for more than this teacher reads.
    assert build_pair_features([one], student, wordpiece, max_length=200).english.lengths.tolist() == [4]


# Speed, and published files ---------------------------------------------------------------------------------------


def test_a_step_is_collated_in_a_few_milliseconds(student, wordpiece):
    features = build_pair_features(many(400, words=20), student, wordpiece, max_length=128)
    step = np.argsort(np.abs(features.lengths - 63))[:100]
    seconds = []
    for epoch in range(10):
        started = time.process_time()
        features.at(0, epoch).collate(step)
        seconds.append(time.process_time() - started)
    assert min(seconds) < CPU_SECONDS_OF_A_STEP


def test_published_pairs_are_matched_and_few_are_dropped(real_data, wordpiece):
    vocabulary = real_data / "tokenizers/mbert-cased/vocab.txt"
    student = BertTokenizer(vocab=str(vocabulary), do_lower_case=False)
    pairs = []
    for code in ("deu", "cmn", "tha", "hin"):
        english, other = (
            (real_data / f"parallel/tatoeba/tatoeba.{code}-eng.{side}").read_text(encoding="utf-8").splitlines()
            for side in ("eng", code)
        )
        for number, (first, second) in enumerate(zip(english, other, strict=True)):
            pairs.append(pair(first, second, f"{code}-{number}", code))
    features = build_pair_features(pairs, student, wordpiece, max_length=64)
    assert features.counts.pairs == len(pairs) > 3000
    assert len(features) > 0.99 * len(pairs)
    batch = features.with_parts(frozenset({"sentence"})).collate(np.arange(len(features)))
    by_id = {one.id: one for one in pairs}
    whole = [row for row, name in enumerate(features.ids) if len(student(by_id[name].other)["input_ids"]) <= 64]
    assert len(whole) > 0.99 * len(features)
    for row in whole:
        expected = student(by_id[features.ids[row]].other)["input_ids"]
        assert batch["x_ids"][row, : len(expected)].tolist() == expected
        assert batch["x_mask"][row].sum() == len(expected)
