"""Small tokenizers of every kind whose vocabulary can be trimmed, made of a few sentences."""

import json
import random

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SENTENCES = {
    "en": [
        "The river runs through the old town.",
        "Who wrote the letters of the teacher?",
        "An answer: 1984, not 1948!",
    ],
    "de": ["Der Fluss fließt durch die alte Stadt.", "Wer schrieb die Briefe des Lehrers?", "Übung macht den Meister."],
    "ru": ["Река течёт через старый город.", "Кто написал письма учителя?", "Ответ: 1984, а не 1948!"],
    "zh": ["河流穿过老城。", "谁写了老师的信？", "答案是1984年。"],
    "hi": ["नदी पुराने शहर से होकर बहती है।", "शिक्षक के पत्र किसने लिखे?"],
}
WORDS = sorted({word for lines in SENTENCES.values() for line in lines for word in line.split()})


def corpus() -> list[str]:
    """Sentences of the words of each language, so that trainers have something to count."""
    chance = random.Random(1)
    lines = [line for some in SENTENCES.values() for line in some]
    for some in SENTENCES.values():
        words = [word for line in some for word in line.split()]
        lines += [" ".join(chance.choices(words, k=6)) for _ in range(20)]
    return lines


def wordpiece() -> PreTrainedTokenizerFast:
    """BERT's layout, with a piece before the special tokens that no text has."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=500, special_tokens=special))
    described = json.loads(backend.to_str())
    described["added_tokens"] = [token for token in described["added_tokens"] if token["content"] != "[unused1]"]
    backend = Tokenizer.from_str(json.dumps(described))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 3), ("[SEP]", 4)]
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return _wrapped(backend, names, inputs=["input_ids", "token_type_ids", "attention_mask"])


def unigram() -> PreTrainedTokenizerFast:
    """XLM-R's layout, with drawn scores; a few characters have pieces with others alone, and the mask is no piece."""
    chance = random.Random(2)
    letters = sorted({letter for word in WORDS for letter in word} - {"q", "ß", "ч"})
    parts = {word[at : at + size] for word in WORDS for size in (2, 3, 4, 20) for at in range(len(word))} - {*letters}
    names = ["▁", *letters, *sorted(parts), *(f"▁{part}" for part in sorted(parts) + letters)]
    scores = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    scores += [(name, -chance.uniform(2, 14)) for name in names if not name.endswith("ß")]
    backend = Tokenizer(models.Unigram(scores, unk_id=3))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    backend.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return _wrapped(backend, _SPECIAL | {"cls": "<s>", "sep": "</s>", "mask": "<mask>"}, padding_side="left")


def byte_level() -> PreTrainedTokenizerFast:
    """RoBERTa's layout: BPE over letters that stand for bytes."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=letters, show_progress=False, min_frequency=2
    )
    backend.train_from_iterator(corpus(), trainer)
    backend.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return _wrapped(backend, _SPECIAL | {"cls": "<s>", "sep": "</s>", "mask": "<mask>"})


def byte_fallback() -> PreTrainedTokenizerFast:
    """Gemma's layout: BPE over whole texts whose spaces are marks; a character without a piece becomes bytes."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trained.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=400, limit_alphabet=90, show_progress=False))
    learned = sorted(trained.get_vocab(), key=trained.get_vocab().get)
    names = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *learned]
    numbered = {piece: number for number, piece in enumerate(names)}
    merges = [*map(tuple, _merges(trained))]
    # As a conversion from SentencePiece does it: whatever two pieces make a third is a merge too, after the others.
    merges += sorted(
        (piece[:cut], piece[cut:])
        for piece in learned
        for cut in range(1, len(piece))
        if piece[:cut] in numbered and piece[cut:] in numbered and (piece[:cut], piece[cut:]) not in merges
    )
    backend = Tokenizer(models.BPE(numbered, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> <bos> $B <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    return _wrapped(backend, {"pad": "<pad>", "unk": "<unk>", "bos": "<bos>", "eos": "<eos>"})


KINDS = {made.__name__: made for made in (wordpiece, unigram, byte_level, byte_fallback)}

_SPECIAL = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}


def _merges(trained: Tokenizer) -> list[list[str]]:
    return json.loads(trained.to_str())["model"]["merges"]


def _wrapped(
    backend: Tokenizer,
    names: dict[str, str],
    *,
    inputs: tuple[str, ...] | list[str] = ("input_ids", "attention_mask"),
    padding_side: str = "right",
) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=64,
        model_input_names=[*inputs],
        padding_side=padding_side,
        **{f"{role}_token": token for role, token in names.items()},
    )
