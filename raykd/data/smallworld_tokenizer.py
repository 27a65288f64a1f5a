"""The tokenizer of the built-in world."""

import functools
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from raykd.data.smallworld import corpus
from raykd.data.smallworld_names import SPELLING, SYLLABLES
from raykd.errors import DataError

_SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_NORMALIZER = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
_PRE_TOKENIZER = pre_tokenizers.BertPreTokenizer()


def build_tokenizer(folder: Path, vocab_size: int = 4000) -> None:
    """Write a fast WordPiece tokenizer of the small world that `AutoTokenizer.from_pretrained(folder)` loads.

    Its vocabulary is the special tokens, every character, the syllables of names, pairs of digits (a year is two
    tokens) and then the commonest words of `corpus`. A pair is `[CLS] A [SEP] B [SEP]` with type ids 0 and 1.
    The same `vocab_size` gives the same bytes.

    Args:
        folder: created if it is missing; its tokenizer files are overwritten.
        vocab_size: the most entries the vocabulary may have; the small world fills about 1,300.

    Raises:
        DataError: if `vocab_size` has no room for the entries that come before the words.
    """
    vocabulary = {token: i for i, token in enumerate(_vocabulary(_counted_words(), vocab_size))}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = _NORMALIZER, _PRE_TOKENIZER
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    named = {f"{role}_token": token for role, token in _SPECIAL_TOKENS.items()}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **named,
    ).save_pretrained(folder)


@functools.cache
def _counted_words() -> Mapping[str, int]:
    words: Counter[str] = Counter()
    for line in corpus():
        normalized = _NORMALIZER.normalize_str(line)
        words.update(word for word, _ in _PRE_TOKENIZER.pre_tokenize_str(normalized))
    return words


def _vocabulary(words: Mapping[str, int], vocab_size: int) -> list[str]:
    """The entries in their order. Words that the pieces of names and years spell out get none of their own."""
    pieces = {piece for spelling in SPELLING.values() for piece in spelling.values()}
    pieces |= {f"{pair:02d}" for pair in range(100)}
    characters = {character for word in (*words, *pieces) for character in word}
    starts = characters | pieces | {piece.capitalize() for piece in pieces}
    required = [*_SPECIAL_TOKENS.values(), *sorted(starts), *sorted(f"##{piece}" for piece in characters | pieces)]
    if vocab_size < len(required):
        raise DataError(f"small world: vocab_size: got {vocab_size}; allowed: {len(required)} or more")
    syllables = {spelling[syllable] for spelling in SPELLING.values() for syllable in SYLLABLES}
    name = re.compile(rf"(?:{'|'.join(sorted(syllables))}){{2}}.?")
    # Ties are broken by the word itself: the order of counting has no say.
    common = sorted(words, key=lambda word: (-words[word], word))
    kept = [word for word in common if word not in starts and not name.fullmatch(word.lower()) and not word.isdigit()]
    return required + kept[: vocab_size - len(required)]
