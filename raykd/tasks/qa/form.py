"""A question-answering model outside of raykd."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import AutoModelForQuestionAnswering

from raykd.data import smallworld
from raykd.models.plain import plain_qa
from raykd.tasks.form import LANGUAGES, Batch, cut
from raykd.tasks.plain import PlainForm
from raykd.tasks.qa.config import QaPoint
from raykd.tasks.qa.decode import top_spans
from raykd.tasks.qa.features import build_features

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


class QaForm(PlainForm):
    """Start and end logits."""

    outputs = ("start_logits", "end_logits")
    auto_class = AutoModelForQuestionAnswering

    def plain(self, model: Any) -> Any:
        return plain_qa(model)

    def batches(self, tokenizer: Any, model: Any, config: QaPoint) -> list[Batch]:
        items = smallworld.parallel_items("dev", 2, languages=LANGUAGES)
        examples = [example for item in items.values() for example in item.values()]
        return cut(build_features(examples, tokenizer, no_answer="keep", **config.window_options))

    def decisions(self, answers: Sequence[Tensor], batch: Batch, model: Any) -> list[Any]:
        _, first, last = top_spans(*answers, context_mask=batch["context_mask"])
        return list(zip(first.tolist(), last.tolist(), strict=True))

    def usage(
        self, config: QaPoint, model: Any, *, name: str, words_bring_spaces: bool, options: Mapping[str, Any]
    ) -> str:
        data, most = config.data, config.selection.max_answer_tokens
        return _QA.format(name=name, max_length=data.max_length, stride=data.stride, max_answer_tokens=most)
