"""The lines of a model card that use the model with plain transformers. A test runs them."""

from collections.abc import Mapping
from typing import Any

from raykd.config.point import PointConfig

_QA = """\
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

name = "{name}"  # this folder, or its id on the Hub
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForQuestionAnswering.from_pretrained(name).eval()


def answer(question, context, max_length={max_length}, stride={stride}, max_answer_tokens={max_answer_tokens}):
    \"\"\"The best span of the context, over all windows of it.\"\"\"
    windows = tokenizer(
        [question], [context], truncation="only_second", max_length=max_length, stride=stride, padding=True,
        return_overflowing_tokens=True, return_offsets_mapping=True, return_tensors="pt",
    )
    with torch.no_grad():
        logits = model(**{{key: windows[key] for key in tokenizer.model_input_names}})
    best = float("-inf"), ""
    for row, offsets in enumerate(windows["offset_mapping"].tolist()):
        outside = torch.tensor([sequence != 1 for sequence in windows.sequence_ids(row)])
        start, end = (each[row].masked_fill(outside, -1e9) for each in (logits.start_logits, logits.end_logits))
        scores = start[:, None] + end
        in_reach = torch.ones_like(scores).triu().tril(max_answer_tokens - 1).bool()
        scores = scores.masked_fill(~in_reach, float("-inf"))
        first, last = divmod(int(scores.argmax()), len(end))
        if scores.max() > best[0]:
            best = scores.max(), context[offsets[first][0] : offsets[last][1]].strip()
    return best[1]


print(answer("Where was Ada born?", "Ada was born in London. She died in Marylebone."))"""

_TAGGING = """\
import torch
{imports}from transformers import AutoModelForTokenClassification, AutoTokenizer{cached}

name = "{name}"  # this folder, or its id on the Hub
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForTokenClassification.from_pretrained(name).eval()


def label(words):
    \"\"\"A label for each word of a sentence of at most {max_length} pieces.\"\"\"
    encoded = tokenizer({words}, is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**encoded).logits[0]
    pieces = [[at for at, word in enumerate(encoded.word_ids()) if word == number] for number in range(len(words))]
    scores = torch.stack([{pooled} for at in pieces])
{decode}
    return [model.config.id2label[number] for number in labels]


print(label(["Ada", "was", "born", "in", "London", "."]))"""

_VITERBI = """\
    crf = load_file(cached_file(name, "tag_head.safetensors"))
    best, origins = crf["transitions.start"] + scores[0], []
    for score in scores[1:]:
        before, origin = (best[:, None] + crf["transitions.between"]).max(dim=0)
        best, origins = before + score, [origin, *origins]
    labels = [int((best + crf["transitions.end"]).argmax())]
    for origin in origins:
        labels.insert(0, int(origin[labels[0]]))"""

_PARALLEL = """\
import torch
from transformers import AutoModel, AutoTokenizer

name = "{name}"  # this folder, or its id on the Hub
tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name{options}).eval()
sentences = ["Ada was born in London.", "Ada wurde in London geboren."]
encoded = tokenizer(sentences, padding=True, truncation=True, max_length={max_length}, return_tensors="pt")
with torch.no_grad():
    hidden = model(**encoded).last_hidden_state
vectors = {pooled}
print(torch.cosine_similarity(vectors[0], vectors[1], dim=0).item())"""

_MEAN = 'torch.stack([row[mask.bool()].mean(dim=0) for row, mask in zip(hidden, encoded["attention_mask"])])'


def usage(config: PointConfig, *, name: str, pooling: str, words_bring_spaces: bool, options: Mapping[str, Any]) -> str:
    """Python that uses the model of a point without raykd.

    Args:
        name: of its folder.
        pooling: how pieces become a word, or tokens a sentence; question answering has none.
        words_bring_spaces: whether the tokenizer wants words with the space before them.
        options: of `from_pretrained`.
    """
    data = config.data
    if config.task == "qa":
        most = config.evaluation.max_answer_tokens
        return _QA.format(name=name, max_length=data.max_length, stride=data.stride, max_answer_tokens=most)
    if config.task == "parallel":
        pooled = "hidden[:, 0]" if pooling == "cls" else _MEAN
        given = "".join(f", {key}={value!r}" for key, value in options.items())
        return _PARALLEL.format(name=name, max_length=data.max_length, pooled=pooled, options=given)
    is_crf = config.head.kind == "crf"
    return _TAGGING.format(
        name=name,
        max_length=data.max_length,
        imports="from safetensors.torch import load_file\n" if is_crf else "",
        cached="\nfrom transformers.utils import cached_file" if is_crf else "",
        words='[" " * (at > 0) + word for at, word in enumerate(words)]' if words_bring_spaces else "words",
        pooled="logits[at[0]]" if pooling == "first" else "logits[at].mean(dim=0)",
        decode=_VITERBI if is_crf else "    labels = scores.argmax(dim=1).tolist()",
    )
