import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from raykd.data.smallworld_tokenizer import build_tokenizer

CHARACTERS = [chr(code) for block in ((33, 127), (0x0E01, 0x0E3B), (0x0E40, 0x0E4F)) for code in range(*block)]
CHARACTERS += list("北京是中国的首都人口很多éüß")
WORDS = ["the", "city", "river", "answer", "question", "old", "what", "where", "ing", "กรุงเทพ", "中国"]


@pytest.fixture(scope="session")
def wordpiece() -> PreTrainedTokenizerFast:
    """BERT's layout: `[CLS] question [SEP] context [SEP]` with segment ids. It knows Thai and Chinese by characters."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *CHARACTERS, *(f"##{char}" for char in CHARACTERS), *WORDS]
    numbered = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(vocab=numbered, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", numbered["[CLS]"]), ("[SEP]", numbered["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=128,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


@pytest.fixture(scope="session")
def sentencepiece() -> PreTrainedTokenizerFast:
    """XLM-R's layout: `<s> question </s> </s> context </s>`, pieces that begin with a space, no segment ids."""
    pieces = [("<pad>", 0.0), ("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -3.0)]
    pieces += [(char, -8.0) for char in CHARACTERS] + [(word, -5.0) for word in WORDS]
    pieces += [(f"▁{word}", -4.0) for word in WORDS]
    tokenizer = Tokenizer(models.Unigram(list(dict(pieces).items()), unk_id=1))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=128,
        model_input_names=["input_ids", "attention_mask"],
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
    )


@pytest.fixture(params=["wordpiece", "sentencepiece"])
def tokenizer(request) -> PreTrainedTokenizerFast:
    """Both of them, one after the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def small_world_tokenizer(tmp_path_factory) -> PreTrainedTokenizerFast:
    """The tokenizer of the built-in world."""
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)
