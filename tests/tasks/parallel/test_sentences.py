import hashlib

import numpy as np
import pytest
import torch
from transformers import ByT5Tokenizer

from raykd.errors import DataError
from raykd.tasks.parallel.sentences import english_features, sentence_features

TEXTS = ["the old answers, the city", "river", "what city"]


def pieces(features, row: int, tokenizer) -> list[str]:
    return tokenizer.convert_ids_to_tokens(features.tokens[features.bounds[row] : features.bounds[row + 1]].tolist())


def test_english_sentences_know_where_their_words_are(wordpiece):
    features = english_features(TEXTS, wordpiece, max_length=32)
    assert pieces(features, 0, wordpiece) == ["[CLS]", "the", "old", "answer", "##s", ",", "the", "city", "[SEP]"]
    assert features.lengths.tolist() == [9, 3, 4] and features.word_counts.tolist() == [6, 1, 2]
    assert features.ids[1] == f"en:{hashlib.sha256(b'river').hexdigest()[:16]}"
    batch = features.collate(np.array([2, 0]))
    assert batch["first"].tolist() == [[1, 2, 0, 0, 0, 0], [1, 2, 3, 5, 6, 7]]
    assert batch["word_mask"].tolist() == [[True] * 2 + [False] * 4, [True] * 6]
    assert batch["attention_mask"].tolist() == [[1] * 4 + [0] * 5, [1] * 9]
    assert batch["input_ids"][0].tolist() == [
        *features.tokens[features.bounds[2] :].tolist(),
        *[wordpiece.pad_token_id] * 5,
    ]
    assert batch["token_type_ids"].tolist() == [[0] * 9] * 2
    assert features.collate(np.array([1]), pad_to=12)["input_ids"].shape == (1, 12)


def test_signals_are_of_the_sentence_and_if_stored_of_its_words(wordpiece):
    features = english_features(TEXTS, wordpiece, max_length=32)
    assert features.signal_lengths.tolist() == [7, 2, 3]
    alone = features.with_words(False)
    assert alone.signal_lengths.tolist() == [1, 1, 1] and alone.sha256 == features.sha256


def test_sentences_are_cut_between_words(wordpiece):
    for max_length, words in [(9, 6), (8, 5), (5, 2), (6, 3), (3, 1)]:
        features = english_features(TEXTS[:1], wordpiece, max_length=max_length)
        assert features.word_counts.tolist() == [words] and features.lengths[0] <= max_length
    features = english_features(["answers old"], wordpiece, max_length=3)
    assert pieces(features, 0, wordpiece) == ["[CLS]", "answer", "[SEP]"] and features.first.tolist() == [1]
    assert english_features(TEXTS, wordpiece, max_length=32, num_words=[3, 1, 1]).word_counts.tolist() == [3, 1, 1]
    with pytest.raises(DataError, match="room for 2 of 3 words of 'the old answers, the city'; raise it"):
        english_features(TEXTS, wordpiece, max_length=5, num_words=[3, 1, 1])
    with pytest.raises(ValueError, match="2 sentences, 1 different"):
        english_features(["a", "a"], wordpiece, max_length=5)


def test_words_keep_their_numbers_where_a_tokenizer_drops_some(wordpiece):
    features = english_features(["old \u200f city"], wordpiece, max_length=8)
    assert pieces(features, 0, wordpiece) == ["[CLS]", "old", "[UNK]", "city", "[SEP]"]
    assert features.first.tolist() == [1, 2, 3]


def test_sentences_to_embed_are_numbered_and_may_be_empty_or_equal(tokenizer):
    features = sentence_features(["the city", "", "the city"], tokenizer, max_length=8)
    assert features.ids == ("0", "1", "2") and features.signal_lengths.tolist() == [1, 1, 1]
    assert features.lengths.tolist() == [4, 2, 4]
    batch = features.collate(np.array([1, 2]))
    assert set(batch) == {"input_ids", "attention_mask"} | ({"token_type_ids"} if features.has_types else set())
    assert batch["input_ids"][1].tolist() == tokenizer("the city")["input_ids"]
    assert len(sentence_features([], tokenizer, max_length=8)) == 0


def test_taken_sentences_are_those_of_a_smaller_set(tokenizer):
    for build in (english_features, sentence_features):
        taken = build(TEXTS, tokenizer, max_length=32).take(np.array([2, 1]))
        smaller = build([TEXTS[2], TEXTS[1]], tokenizer, max_length=32)
        for name, tensor in taken.collate(np.array([0, 1])).items():
            assert torch.equal(tensor, smaller.collate(np.array([0, 1]))[name])
    assert build(TEXTS, tokenizer, max_length=32).sha256 != build(TEXTS, tokenizer, max_length=4).sha256


def test_a_tokenizer_that_cannot_match_words_is_named():
    for build in (english_features, sentence_features):
        with pytest.raises(DataError, match=r"^tokenizer ByT5Tokenizer: is not a fast one"):
            build(TEXTS, ByT5Tokenizer(cls_token="<pad>"), max_length=8)
