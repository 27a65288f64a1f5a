"""Trimmed vocabularies: what stays, and that texts are read as before."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_tokenizers import KINDS, SENTENCES, WORDS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, BertTokenizer, PreTrainedTokenizerFast, XLMRobertaTokenizer

from raykd.errors import DataError
from raykd.models.pieces import PieceTable
from raykd.models.qa import load_tokenizer
from raykd.models.vocabulary import (
    Coverage,
    Kept,
    LanguageCoverage,
    check_coverage,
    coverage,
    needed_pieces,
    trim_tokenizer,
)

MODELS = {"wordpiece": "bert", "unigram": "xlm-roberta", "byte_level": "roberta", "byte_fallback": "gemma3_text"}
"""A kind of model whose tokenizer has the layout, and a class of its own."""


@pytest.fixture(scope="session", params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def made() -> dict[str, PreTrainedTokenizerFast]:
    return {name: make() for name, make in KINDS.items()}


@pytest.fixture(scope="session")
def tokenizer(made, kind) -> PreTrainedTokenizerFast:
    return made[kind]


def read(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def pieces(tokenizer, kept: Kept) -> set[str]:
    return {*tokenizer.convert_ids_to_tokens(list(kept.ids))}


# Texts are read as before -----------------------------------------------------------------------------------------


def word_level(words, **options) -> PreTrainedTokenizerFast:
    numbered = {word: number for number, word in enumerate(words)}
    backend = Tokenizer(models.WordPiece(numbered, unk_token="[UNK]", **options))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")


LETTERS = sorted({letter for word in WORDS for letter in word} | set("qß☂한"))
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(LETTERS, min_size=1, max_size=6), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(TEXTS.map(" ".join), TEXTS, st.sampled_from([1, 8, None]))
def test_a_text_whose_pieces_are_all_kept_is_read_alike(tokenizer, text, others, max_pieces):
    kept = needed_pieces(tokenizer, {"en": [text]}, max_pieces=max_pieces)
    trimmed = trim_tokenizer(tokenizer, kept)
    is_wordpiece = PieceTable(tokenizer).model["type"] == "WordPiece"
    for other in (text, " ".join(others), *others, *WORDS):
        before = read(tokenizer, other)
        if {*before} <= {*kept.ids} and not (is_wordpiece and tokenizer.unk_token_id in before):
            after = trimmed(other, add_special_tokens=False, return_offsets_mapping=True)
            assert after["input_ids"] == [kept.new_ids[number] for number in before]
            expected = tokenizer(other, add_special_tokens=False, return_offsets_mapping=True)
            assert after["offset_mapping"] == expected["offset_mapping"]


def test_the_texts_themselves_are_read_alike_with_special_tokens_and_in_pairs(tokenizer):
    kept = needed_pieces(tokenizer, SENTENCES, max_pieces=None)
    trimmed = trim_tokenizer(tokenizer, kept)
    assert len(trimmed) == len(kept.ids) < kept.total == len(tokenizer)
    for lines in SENTENCES.values():
        before, after = (each(lines[0], lines[1]) for each in (tokenizer, trimmed))
        assert after["input_ids"] == [kept.new_ids[number] for number in before["input_ids"]]
        assert {**after, "input_ids": 0} == {**before, "input_ids": 0}


def test_a_mask_is_read_alike(made):
    for name in ("wordpiece", "unigram", "byte_level"):
        tokenizer = made[name]
        kept = needed_pieces(tokenizer, {"en": SENTENCES["en"]}, max_pieces=None)
        text = f"The {tokenizer.mask_token} runs."
        assert trim_tokenizer(tokenizer, kept).tokenize(text) == tokenizer.tokenize(text)


def test_a_word_that_wordpiece_does_not_know_may_be_spelled_without_the_long_piece_it_took_first():
    tokenizer = word_level(["[UNK]", "a", "ab", "##b", "##bc", "b"])
    kept = needed_pieces(tokenizer, {"en": ["a abc"]}, max_pieces=None)
    assert tokenizer.tokenize("abc") == ["[UNK]"] and pieces(tokenizer, kept) == {"[UNK]", "a", "##b", "b"}
    assert trim_tokenizer(tokenizer, kept).tokenize("abc") == ["[UNK]"]
    kept = needed_pieces(tokenizer, {"en": ["a"]}, max_pieces=None)
    with_end = Kept(ids=(*kept.ids, tokenizer.convert_tokens_to_ids("##bc")), total=kept.total)
    assert trim_tokenizer(tokenizer, with_end).tokenize("abc") == ["a", "##bc"]


def test_an_unknown_character_of_unigram_costs_what_it_did():
    # It costs 10 more than the lowest score, -30: <unk> and 'yz' are -41, 'xy' and 'z' -28. From -14 it would be -25.
    scores = [("<unk>", 0.0), ("xy", -14.0), ("z", -14.0), ("yz", -1.0), ("w", -30.0)]
    backend = Tokenizer(models.Unigram(scores, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    trimmed = trim_tokenizer(tokenizer, needed_pieces(tokenizer, {"en": ["xyz yz"]}, max_pieces=None))
    assert trimmed.tokenize("xyz yz") == tokenizer.tokenize("xyz yz") == ["xy", "z", "yz"]


# What stays -------------------------------------------------------------------------------------------------------


def test_ids_keep_their_order_and_special_tokens_their_place(tokenizer):
    kept = needed_pieces(tokenizer, {"en": SENTENCES["en"]}, max_pieces=None)
    trimmed = trim_tokenizer(tokenizer, kept)
    assert list(kept.ids) == sorted(kept.ids)
    assert trimmed.convert_ids_to_tokens(range(len(trimmed))) == tokenizer.convert_ids_to_tokens(list(kept.ids))
    assert trimmed.special_tokens_map == tokenizer.special_tokens_map
    assert trimmed.pad_token_id == tokenizer.pad_token_id
    assert [kept.new_ids[number] for number in tokenizer.all_special_ids] == trimmed.all_special_ids


def test_the_most_frequent_pieces_of_each_language_stay_and_of_equals_the_lower_id():
    words = ["[UNK]", "two", "one", "three", "four", "five"]
    tokenizer = word_level(words)
    texts = {"en": ["one one two three"], "de": ["four five five"]}
    assert pieces(tokenizer, needed_pieces(tokenizer, texts, max_pieces=1)) == {"[UNK]", "one", "five"}
    assert pieces(tokenizer, needed_pieces(tokenizer, texts, max_pieces=2)) == {*words} - {"three"}
    assert pieces(tokenizer, needed_pieces(tokenizer, texts, max_pieces=None)) == {*words}


def test_characters_of_the_texts_stay_alone_and_with_the_mark_of_their_place():
    tokenizer = word_level(["[UNK]", "a", "##a", "b", "##b", "ab", "c", "##c"])
    assert pieces(tokenizer, needed_pieces(tokenizer, {"en": ["ab"]}, max_pieces=None)) == {
        *("[UNK]", "a", "##a", "b", "##b", "ab")
    }


def test_an_unseen_word_of_a_script_has_pieces_and_one_of_another_script_has_none(made):
    for name in ("wordpiece", "unigram"):
        trimmed = trim_tokenizer(made[name], needed_pieces(made[name], {"ru": SENTENCES["ru"]}, max_pieces=1))
        assert trimmed.unk_token_id not in read(trimmed, "тетрис")
        assert trimmed.unk_token_id in read(trimmed, "शहर")


def test_characters_are_kept_as_the_tokenizer_normalizes_them(made):
    # NFKC makes 'fi' of the ligature, which is all that the text has of these letters.
    tokenizer = made["unigram"]
    kept = pieces(tokenizer, needed_pieces(tokenizer, {"en": ["ﬁ"]}, max_pieces=0))
    assert {"f", "i"} <= kept and "t" not in kept


def test_all_bytes_stay(made):
    for name, bytes_of in (("byte_level", pre_tokenizers.ByteLevel.alphabet()), ("byte_fallback", None)):
        tokenizer = made[name]
        trimmed = trim_tokenizer(tokenizer, needed_pieces(tokenizer, {"en": ["a"]}, max_pieces=None))
        assert {*(bytes_of or (f"<0x{byte:02X}>" for byte in range(256)))} <= {*trimmed.get_vocab()}
        assert trimmed.decode(read(trimmed, "한☂")) == tokenizer.decode(read(tokenizer, "한☂"))


def bpe(names, merges, **options) -> PreTrainedTokenizerFast:
    numbered = {name: number for number, name in enumerate(names)}
    backend = Tokenizer(models.BPE(numbered, merges, **options))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def test_bpe_keeps_what_it_joins_on_the_way_and_no_other_way():
    merges = [("h", "u"), ("u", "g"), ("hu", "g"), ("h", "ug")]
    tokenizer = bpe(["h", "u", "g", "hu", "ug", "hug"], merges)
    kept = needed_pieces(tokenizer, {"en": ["hug"]}, max_pieces=None)
    assert pieces(tokenizer, kept) == {"h", "u", "g", "hu", "hug"}
    trimmed = trim_tokenizer(tokenizer, kept)
    assert PieceTable(trimmed).model["merges"] == [["h", "u"], ["hu", "g"]]
    assert trimmed.tokenize("hug") == ["hug"]


def test_bpe_with_marks_of_the_end_or_the_inside_of_a_word_is_trimmed():
    ending = {"end_of_word_suffix": "</w>"}
    tokenizer = bpe(
        ["a", "b", "a</w>", "b</w>", "ab", "ab</w>", "aab</w>"], [("a", "b</w>"), ("a", "ab</w>")], **ending
    )
    kept = needed_pieces(tokenizer, {"en": ["aab"]}, max_pieces=None)
    assert trim_tokenizer(tokenizer, kept).tokenize("aab") == tokenizer.tokenize("aab") == ["aab</w>"]
    assert "ab" not in pieces(tokenizer, kept)
    inside = {"continuing_subword_prefix": "##"}
    tokenizer = bpe(
        ["a", "b", "##a", "##b", "##ab", "aab", "ab"], [("##a", "##b"), ("a", "##ab"), ("a", "##b")], **inside
    )
    kept = needed_pieces(tokenizer, {"en": ["aab"]}, max_pieces=None)
    assert trim_tokenizer(tokenizer, kept).tokenize("aab") == tokenizer.tokenize("aab") == ["aab"]
    assert "ab" not in pieces(tokenizer, kept)


def test_a_word_that_bpe_knows_without_merges_stays():
    tokenizer = bpe(["a", "b", "aba"], [], ignore_merges=True)
    kept = needed_pieces(tokenizer, {"en": ["aba"]}, max_pieces=None)
    assert trim_tokenizer(tokenizer, kept).tokenize("aba ab") == ["aba", "a", "b"]


# Folders ----------------------------------------------------------------------------------------------------------


def config_beside(folder, model_type: str) -> None:
    folder.mkdir(exist_ok=True)
    AutoConfig.for_model(model_type).save_pretrained(folder)


def alike(one, other) -> bool:
    names = ("model_max_length", "model_input_names", "padding_side", "truncation_side", "special_tokens_map")
    texts = [*WORDS, *(line for lines in SENTENCES.values() for line in lines)]
    return (
        one.get_vocab() == other.get_vocab()
        and all(getattr(one, name) == getattr(other, name) for name in names)
        and dict(one(texts, texts, padding=True)) == dict(other(texts, texts, padding=True))
    )


def test_a_trimmed_tokenizer_is_loaded_as_it_was_saved_beside_a_model_with_a_class_of_its_own(
    tokenizer, kind, tmp_path
):
    trimmed = trim_tokenizer(tokenizer, needed_pieces(tokenizer, {"de": SENTENCES["de"]}, max_pieces=20))
    config_beside(tmp_path, MODELS[kind])
    trimmed.save_pretrained(tmp_path)
    again = load_tokenizer(str(tmp_path))
    assert type(again) is PreTrainedTokenizerFast and alike(again, trimmed)
    assert (again.model_max_length, again.padding_side) == (64, "left" if kind == "unigram" else "right")


def vocabulary_of(tokenizer) -> dict[str, int]:
    return PieceTable(tokenizer).model["vocab"]


def test_tokenizers_of_classes_that_build_their_own_become_plain_ones(made, tmp_path):
    bert = BertTokenizer(vocab=vocabulary_of(made["wordpiece"]), do_lower_case=False, model_max_length=77)
    unigram = [(piece, score) for piece, score in vocabulary_of(made["unigram"])]
    for model_type, tokenizer in (("bert", bert), ("xlm-roberta", XLMRobertaTokenizer(vocab=unigram))):
        folder = tmp_path / model_type
        config_beside(folder, model_type)
        tokenizer.save_pretrained(folder)
        loaded = load_tokenizer(str(folder))
        assert type(loaded) is type(tokenizer)
        kept = needed_pieces(loaded, SENTENCES, max_pieces=None)
        trimmed = trim_tokenizer(loaded, kept)
        trimmed.save_pretrained(folder)
        again = load_tokenizer(str(folder))
        assert type(again) is PreTrainedTokenizerFast and alike(again, trimmed)
        for lines in SENTENCES.values():
            for line in lines:
                assert again(line)["input_ids"] == [kept.new_ids[number] for number in loaded(line)["input_ids"]]


def test_a_trimmed_tokenizer_can_be_trimmed_again(tokenizer):
    trimmed = trim_tokenizer(tokenizer, needed_pieces(tokenizer, SENTENCES, max_pieces=None))
    texts = {"en": SENTENCES["en"]}
    twice = trim_tokenizer(trimmed, needed_pieces(trimmed, texts, max_pieces=None))
    once = trim_tokenizer(tokenizer, needed_pieces(tokenizer, texts, max_pieces=None))
    assert [twice.tokenize(line) for line in SENTENCES["en"]] == [once.tokenize(line) for line in SENTENCES["en"]]


def test_what_an_earlier_call_asked_for_is_not_kept(made):
    tokenizer = made["wordpiece"]
    tokenizer(SENTENCES["en"], padding="max_length", truncation=True, max_length=4)
    trimmed = trim_tokenizer(tokenizer, needed_pieces(tokenizer, {"en": SENTENCES["en"]}, max_pieces=None))
    assert trimmed.backend_tokenizer.truncation is None and trimmed.backend_tokenizer.padding is None


# Refusals ---------------------------------------------------------------------------------------------------------


def problem(action) -> str:
    with pytest.raises(DataError) as caught:
        action()
    (line,) = caught.value.problems
    return line


def test_a_tokenizer_of_another_type_is_refused_by_name():
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, name_or_path="some/model")
    line = problem(lambda: needed_pieces(tokenizer, {"en": ["a"]}, max_pieces=None))
    assert line == (
        "tokenizer some/model: its model is of type WordLevel; a vocabulary can be trimmed of BPE, Unigram, WordPiece"
    )


def test_no_texts_are_refused(made):
    tokenizer = made["wordpiece"]
    assert "no text of de" in problem(lambda: needed_pieces(tokenizer, {"en": ["a"], "de": [" "]}, max_pieces=None))
    assert "there are no texts" in problem(lambda: needed_pieces(tokenizer, {}, max_pieces=None))


def test_two_pieces_with_one_id_are_refused():
    # 3 is the highest id of 3 pieces, so the added token gets it too.
    described = json.loads(word_level(["[UNK]", "a", "b"]).backend_tokenizer.to_str())
    described["model"]["vocab"] = {"[UNK]": 0, "a": 1, "b": 3}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    described["added_tokens"] = [{"id": 2, "content": "<x>", "special": True} | flags]
    backend = Tokenizer.from_str(json.dumps(described))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", name_or_path="odd")
    kept = needed_pieces(tokenizer, {"en": ["a b"]}, max_pieces=None)
    assert problem(lambda: trim_tokenizer(tokenizer, kept)).startswith("tokenizer odd: two of its pieces have one id")


# Coverage ---------------------------------------------------------------------------------------------------------


def test_coverage_counts_unknown_pieces_before_and_after():
    tokenizer = word_level(["[UNK]", "one", "two", "eins", "zwei", "drei"])
    trimmed = trim_tokenizer(tokenizer, needed_pieces(tokenizer, {"en": ["one two"], "de": ["eins"]}, max_pieces=None))
    found = coverage(tokenizer, trimmed, {"en": ["one two", "three two"], "de": ["eins zwei"]})
    assert found == Coverage(
        kept=4,
        total=6,
        languages={"en": LanguageCoverage(4, 4, 0.25, 0.25), "de": LanguageCoverage(2, 2, 0.0, 0.5)},
    )
    assert json.loads(json.dumps(asdict(found)))["languages"]["de"]["trimmed_unknown"] == 0.5


def test_a_language_without_its_script_is_refused_and_one_with_it_is_not(tokenizer):
    trimmed = trim_tokenizer(
        tokenizer, needed_pieces(tokenizer, {one: SENTENCES[one] for one in ("en", "de")}, max_pieces=None)
    )
    check_coverage(coverage(tokenizer, trimmed, {one: SENTENCES[one] for one in ("en", "de")}))
    found = coverage(tokenizer, trimmed, {one: SENTENCES[one] for one in ("en", "ru")})
    assert found.languages["ru"].trimmed_unknown > 0.3
    line = problem(lambda: check_coverage(found))
    share = found.languages["ru"].trimmed_unknown
    assert line.startswith(f"student.vocabulary: ru: {share:.1%} of its pieces are unknown")
    assert "a vocabulary without a language's script; add texts of ru" in line
