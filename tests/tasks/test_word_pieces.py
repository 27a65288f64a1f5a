import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from raykd.errors import DataError
from raykd.tasks.word_pieces import checked_length, frame_tokens, whole_words, word_pieces, words_of

MIXED = st.text(st.sampled_from("aZé9 \t\n\u00a0\u3000.,'-_$^`|~«»¿…–€©中国日本かな한국กาไทยहिन्दीابت،。!😀"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 5.5 km—really!", ["It", "'", "s", "5", ".", "5", "km", "—", "really", "!"]),
        ("我们在2020年。かな", ["我", "们", "在", "2020", "年", "。", "かな"]),
        (" [SEP]\u3000naïve\n", ["[", "SEP", "]", "naïve"]),
        ("हिन्दी, ไทย 10€", ["हिन्दी", ",", "ไทย", "10€"]),
        (" \t\n", []),
    ],
)
def test_words_of_known_texts(text, words):
    assert words_of(text) == words


@given(MIXED)
def test_words_are_those_of_bert_and_keep_every_character(text):
    normalizer = normalizers.BertNormalizer(clean_text=True, strip_accents=False, lowercase=False)
    bert = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normalizer.normalize_str(text))
    assert words_of(text) == [word for word, _ in bert]
    assert "".join(words_of(text)) == "".join(text.split())


def test_many_sentences_have_the_pieces_that_they_have_alone(small_world_tokenizer):
    texts = ["the city", "", "river", "a b c"]
    several = list(word_pieces([words_of(texts[number % 4]) for number in range(5000)], small_world_tokenizer))
    alone = [next(word_pieces([words_of(text)], small_world_tokenizer)) for text in texts]
    assert several == alone * 1250 and alone[1] == [] and all(alone[3])


@given(st.lists(st.integers(1, 6), max_size=8), st.integers(1, 20))
def test_as_many_whole_words_as_fit(lengths, room):
    words, pieces = whole_words(lengths, room)
    if lengths and lengths[0] > room:
        assert (words, pieces) == (1, room)
    else:
        fitting = [number for number in range(len(lengths) + 1) if sum(lengths[:number]) <= room]
        assert (words, pieces) == (fitting[-1], sum(lengths[: fitting[-1]]))


def test_what_a_tokenizer_lacks_is_named(small_world_tokenizer):
    backend = small_world_tokenizer.backend_tokenizer
    assert frame_tokens(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="[CLS]", eos_token="[SEP]")) == (
        small_world_tokenizer.cls_token_id,
        small_world_tokenizer.sep_token_id,
    )
    with pytest.raises(DataError, match=r"^tokenizer TokenizersBackend: has no token for the start"):
        frame_tokens(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="[CLS]"))
    with pytest.raises(DataError, match=r"^max_length: got 513; tokenizer .* allows 3 to 512$"):
        checked_length(small_world_tokenizer, 513, least=3)
    with pytest.raises(DataError, match="got 2"):
        checked_length(small_world_tokenizer, 2, least=3)
