import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from raykd.data.conll import TagFormat, read_conll
from raykd.data.examples import Sentence
from raykd.data.tags import first_bad, label_set
from raykd.errors import DataError
from raykd.tasks.tagging.features import NO_TAG, TagFeatures, TagWindowCounts, rejoin
from raykd.tasks.tagging.windows import build_tag_features

LABELS = label_set(["X", "Y"], "bioes")


def sentence(words: str | list[str], tags: str = "", *, id_="en-000000", language="en") -> Sentence:
    words = words.split() if isinstance(words, str) else words
    return Sentence(id_, language, tuple(words), tuple(tags.split()))


def build(sentences, tokenizer, **options) -> TagFeatures:
    sentences = [sentences] if isinstance(sentences, Sentence) else sentences
    defaults = {"languages": ("de", "en"), "labels": LABELS, "scheme": "bioes", "max_length": 64}
    return build_tag_features(sentences, tokenizer, **defaults | options)


def words_of(features: TagFeatures, row: int, tokenizer) -> list[list[str]]:
    """The pieces of each word of a window."""
    tokens = tokenizer.convert_ids_to_tokens(features.tokens[features.bounds[row] : features.bounds[row + 1]].tolist())
    words = slice(features.word_bounds[row], features.word_bounds[row + 1])
    pairs = zip(features.first[words], features.last[words], strict=True)
    return [tokens[first : last + 1] for first, last in pairs]


def tags_of(features: TagFeatures, row: int) -> list[str]:
    numbers = features.tags[features.word_bounds[row] : features.word_bounds[row + 1]]
    return [features.labels[number] for number in numbers]


def windows_of(features: TagFeatures, tokenizer) -> list[str]:
    return [" ".join("".join(word) for word in words_of(features, row, tokenizer)) for row in range(len(features))]


# Words and pieces -------------------------------------------------------------------------------------------------


def test_words_keep_their_first_and_last_piece(wordpiece):
    features = build(sentence("the answers river", "O B-X E-X"), wordpiece)
    text = wordpiece.convert_ids_to_tokens(features.tokens.tolist())
    assert text == ["[CLS]", "the", "answer", "##s", "river", "[SEP]"]
    assert (features.first.tolist(), features.last.tolist()) == ([1, 2, 4], [1, 3, 4])
    assert tags_of(features, 0) == ["O", "B-X", "E-X"]
    assert (features.ids, features.lengths.tolist(), features.word_counts.tolist()) == (("en-000000#0",), [6], [3])
    assert (features.languages[features.language[0]], features.types.tolist()) == ("en", [0] * 6)
    assert features.counts == TagWindowCounts(sentences=1, windows=1)
    assert features.counts.to_json()["unknown_words"] == 0


def test_the_layout_of_xlm_r_has_no_segments(sentencepiece):
    features = build(sentence("the old city"), sentencepiece)
    text = sentencepiece.convert_ids_to_tokens(features.tokens.tolist())
    assert text == ["<s>", "▁the", "▁old", "▁city", "</s>"]
    assert not features.has_types and "token_type_ids" not in features.collate(np.array([0]))


def test_a_word_that_the_tokenizer_drops_is_the_unknown_token(wordpiece):
    features = build(sentence(["old", "\u200f\u200f", "\ufeff", "city"], "O S-X O O"), wordpiece)
    assert words_of(features, 0, wordpiece) == [["old"], ["[UNK]"], ["[UNK]"], ["city"]]
    assert features.counts.unknown_words == 2
    features = build(sentence(["\u200f"]), wordpiece)
    assert words_of(features, 0, wordpiece) == [["[UNK]"]]


def test_words_with_spaces_and_the_names_of_special_tokens_are_text(wordpiece):
    features = build(sentence(["old city", "[SEP]", "the"]), wordpiece)
    assert words_of(features, 0, wordpiece) == [["old", "city"], ["[", "S", "##E", "##P", "]"], ["the"]]
    assert (features.tokens == wordpiece.sep_token_id).sum() == 1


def test_a_tokenizer_that_marks_spaces_gets_them():
    vocabulary = {"old": 0, "city": 1, "▁city": 2, "▁": 3, **{char: 4 + i for i, char in enumerate("acdiloty")}}
    merges = [("o", "l"), ("ol", "d"), ("c", "i"), ("ci", "t"), ("cit", "y"), ("▁", "city"), ("▁", "a")]
    vocabulary |= {
        "".join(pair): len(vocabulary) + i for i, pair in enumerate(merges) if "".join(pair) not in vocabulary
    }
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="a"))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64)
    features = build(sentence("old city city"), tokenizer)
    assert words_of(features, 0, tokenizer) == [["old"], ["▁city"], ["▁city"]]
    assert features.tokens.tolist() == tokenizer("old city city")["input_ids"]
    assert features.pad == 0 and tokenizer.pad_token_id is None
    with pytest.raises(DataError, match=r"en-000000: the tokenizer makes no token of word 1 \(''\)"):
        build(sentence(["old", ""]), PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocabulary, []))))


# Windows ----------------------------------------------------------------------------------------------------------


def test_a_long_sentence_is_cut_before_a_word_where_no_chunk_is(wordpiece):
    words, tags = "the old answers river the city old", "O O B-X E-X O S-Y O"  # 8 pieces, 5 have room
    features = build(sentence(words, tags), wordpiece, max_length=7)
    assert windows_of(features, wordpiece) == ["the old answer##s river", "the city old"]
    features = build(sentence(words, tags), wordpiece, max_length=6)
    assert windows_of(features, wordpiece) == ["the old", "answer##s river the", "city old"]
    assert features.ids == ("en-000000#0-2", "en-000000#2-5", "en-000000#5-7")
    assert (features.sentence.tolist(), features.offset.tolist()) == ([0, 0, 0], [0, 2, 5])
    assert tags_of(features, 1) == ["B-X", "E-X", "O"]
    assert features.counts == TagWindowCounts(sentences=1, windows=3, split_sentences=1)
    blind = build(sentence(words, tags), wordpiece, max_length=6, spare_chunks=False)
    assert windows_of(blind, wordpiece) == ["the old answer##s", "river the city old"]
    assert blind.counts.cut_chunks == 1


def test_both_parts_of_a_chunk_that_must_be_cut_are_chunks(wordpiece):
    features = build(sentence("the old city river", "B-X I-X I-X E-X"), wordpiece, max_length=5)
    assert [tags_of(features, row) for row in range(2)] == [["B-X", "I-X", "E-X"], ["S-X"]]
    assert (features.counts.cut_chunks, features.counts.split_sentences) == (1, 1)
    with pytest.raises(DataError, match="en-000000: where a chunk is cut, the labels S-X are needed"):
        build(sentence("a b c", "B-X I-X E-X"), wordpiece, max_length=4, labels=("B-X", "I-X", "E-X"))


def test_of_a_word_longer_than_a_window_the_first_pieces_are_there(wordpiece):
    features = build(sentence("old zzzzzzz the", "O S-X O"), wordpiece, max_length=5)
    assert windows_of(features, wordpiece) == ["old", "z##z##z", "the"]
    assert features.counts == TagWindowCounts(sentences=1, windows=3, split_sentences=1, cut_words=1)


WORD = st.text(st.sampled_from("abzé 北中ก็า\u200f\ufeff\u00ad[]#▁🙂"), min_size=1, max_size=6)
TAGGED = st.lists(st.tuples(WORD, st.sampled_from(["O", "O", "S-X", "S-Y"])), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=TAGGED, max_length=st.integers(3, 12), cut=st.integers(0, 11), spare=st.booleans())
def test_whatever_the_words_every_one_has_its_place(tokenizer, pairs, max_length, cut, spare):
    words, tags = map(list, zip(*pairs, strict=True))
    if len(tags[cut:]) > 1:  # one long chunk to the end
        tags[cut:] = ["B-X", *["I-X"] * (len(tags) - cut - 2), "E-X"]
    features = build(sentence(words, " ".join(tags)), tokenizer, max_length=max_length, spare_chunks=spare)
    assert features.lengths.max() <= max_length and features.word_counts.min() >= 1
    assert features.word_counts.sum() == len(words) == len(features.first)
    for row in range(len(features)):
        inside = slice(features.word_bounds[row], features.word_bounds[row + 1])
        first, last = features.first[inside], features.last[inside]
        # One after the other, without a gap, and special tokens around them.
        assert (first <= last).all() and (first[1:] == last[:-1] + 1).all()
        assert first[0] == 1 and last[-1] == features.lengths[row] - 2
        assert first_bad(tags_of(features, row), "bioes") is None
    gold = [features.tags[features.word_bounds[row] :] for row in range(len(features))]
    if not features.counts.cut_chunks:
        assert rejoin(features, gold) == {0: tuple(tags)}


def test_predictions_of_windows_in_any_order_are_rejoined(wordpiece):
    sentences = [sentence("the old city river the", id_="a"), sentence("old", id_="b")]
    features = build(sentences, wordpiece, max_length=5)
    assert features.word_counts.tolist() == [3, 2, 1]
    predicted = [[0, 1, 3], [4, 0, 99], [5]]  # what is beyond the words is padding
    expected = {0: ("O", "B-X", "E-X", "S-X", "O"), 1: ("B-Y",)}
    assert rejoin(features, predicted) == expected
    mixed = features.take(np.array([2, 1, 0]))
    assert rejoin(mixed, predicted[::-1]) == expected
    with pytest.raises(ValueError, match="a#3-5: 2 words from 3 on, after 0"):
        rejoin(features.take(np.array([1, 2])), predicted[1:])
    with pytest.raises(ValueError, match="a#0-3"):
        rejoin(features, [[0], [0, 0], [0]])


# Batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_padded_in_pieces_and_in_words(wordpiece):
    sentences = [sentence("answers", "S-X", id_="a", language="de"), sentence("the old city", id_="b")]
    features = build(sentences, wordpiece)
    batch = features.collate(np.array([1, 0]), pad_to=8)
    assert batch["input_ids"].shape == batch["token_type_ids"].shape == (2, 8)
    assert batch["attention_mask"].sum(1).tolist() == [5, 4]
    assert (batch["input_ids"][batch["attention_mask"] == 0] == wordpiece.pad_token_id).all()
    assert batch["first"].tolist() == [[1, 2, 3], [1, 0, 0]]
    assert batch["last"].tolist() == [[1, 2, 3], [2, 0, 0]]
    assert batch["word_mask"].tolist() == [[True] * 3, [True, False, False]]
    assert batch["tags"].tolist() == [[NO_TAG] * 3, [LABELS.index("S-X"), NO_TAG, NO_TAG]]
    assert batch["language"].tolist() == [1, 0]
    integers = {name for name, tensor in batch.items() if tensor.dtype == torch.int64}
    assert integers == set(batch) - {"word_mask"} and batch["word_mask"].dtype == torch.bool
    assert features.collate(np.array([1, 0]))["input_ids"].shape == (2, 5)


def test_taken_windows_are_those_of_a_smaller_set(wordpiece):
    sentences = [sentence("the old city " * n, id_=f"s{n}") for n in range(1, 6)]
    features = build(sentences, wordpiece, max_length=9)
    rows = np.array([4, 0, 2])
    taken = features.take(rows)
    assert taken.ids == tuple(features.ids[row] for row in rows) and taken.counts == features.counts
    for one, other in zip(features.collate(rows).items(), taken.collate(np.arange(3)).items(), strict=True):
        assert one[0] == other[0] and torch.equal(one[1], other[1])
    assert len(features.take(np.zeros(0, dtype=int))) == 0


def test_the_hash_tells_apart_what_a_model_sees(wordpiece):
    base = build(sentence("the city", "O S-X"), wordpiece)
    others = [
        build(sentence("the river", "O S-X"), wordpiece),
        build(sentence("the city", "O S-Y"), wordpiece),
        build(sentence("the city", "O S-X", id_="other"), wordpiece),
        build(sentence("the city", "O S-X", language="de"), wordpiece),
        build(sentence("the city", "O S-X"), wordpiece, labels=LABELS[::-1]),
        build(sentence(["the city", "old"], "O S-X"), wordpiece),
    ]
    assert len({features.sha256 for features in (base, *others)}) == 7
    assert base.sha256 == build(sentence("the city", "O S-X"), wordpiece, max_length=9).sha256


# Refused ----------------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_with_sentences_is_named_at_once(wordpiece):
    wrong = [sentence("a", "S-Z"), sentence("a"), sentence("a", id_="c", language="fr")]
    with pytest.raises(DataError) as caught:
        build(wrong, wordpiece)
    assert caught.value.problems == (
        f"en-000000: tags S-Z are not among the labels {', '.join(LABELS)}",
        "en-000000: occurs twice",
        "c: language 'fr' is not one of de, en",
    )
    with pytest.raises(DataError, match="no sentences"):
        build([], wordpiece)


@pytest.mark.parametrize(("max_length", "problem"), [(129, "reads at most 128"), (2, "special tokens need 2")])
def test_a_window_of_impossible_length_is_refused(wordpiece, max_length, problem):
    with pytest.raises(DataError, match=f"max_length: got {max_length}; the .*{problem}"):
        build(sentence("a"), wordpiece, max_length=max_length)


# Published files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_published_sentences_survive_windows(real_data, kind):
    if kind == "wordpiece":
        vocabulary = real_data / "tokenizers/mbert-cased/vocab.txt"
        tokenizer = BertTokenizer(vocab=str(vocabulary), do_lower_case=False)
    else:
        folder = real_data.parent / "models/xmini-qa-en"
        if not folder.is_dir():
            pytest.skip(f"{folder} is not there")
        tokenizer = AutoTokenizer.from_pretrained(folder)
    labels = label_set(["PER", "LOC", "ORG"], "bioes")
    unknown = {}
    for language in ("en", "fa", "he", "ta"):
        path = real_data / f"panx/dev-{language}.tsv"
        sentences = read_conll(path, language=language, tag_format=TagFormat(target="bioes")).sentences
        features = build(sentences, tokenizer, languages=(language,), labels=labels, max_length=32)
        gold = [features.tags[start:] for start in features.word_bounds[:-1]]
        joined = rejoin(features, gold)
        changed = sum(joined[number] != one.tags for number, one in enumerate(sentences))
        assert changed <= features.counts.cut_chunks < 0.02 * len(sentences)
        assert features.counts.split_sentences > 0 and features.lengths.max() <= 32
        unknown[language] = features.counts.unknown_words
    assert unknown == {"en": 0, "fa": 0, "he": 1, "ta": 4}
