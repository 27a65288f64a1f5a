"""The student of multi-level distillation on parallel text, and the heads that only its training needs.

The levels are those of MMKD (Li et al. 2022, arXiv:2211.01200): masked tokens of a sentence and its translation, words
in the context of the translation, sentences, and the structure between the sentences of a batch.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig
from transformers.utils import ModelOutput

from raykd.models.encoder import EncoderOutput, SentenceEncoder
from raykd.models.gather import gather_rows, rank_and_size

Part = Literal["tlm", "word", "sentence", "structure"]
Norm = Literal["batch", "layer"]


@dataclass(frozen=True)
class MultilevelOptions:
    """What is trained, and against which teacher.

    Attributes:
        teacher_width: Ht, the size of the teacher's vectors.
        parts: the levels; one that is not asked for has no weights.
        norm: of the heads of `sentence` and `structure`, over the rows of a batch or within each row.
        projection_size: P, the size of what these heads compare.
        gather: let these heads see the rows of all workers.
    """

    teacher_width: int
    parts: frozenset[Part]
    norm: Norm
    projection_size: int = 128
    gather: bool = True


@dataclass
class MultilevelOutput(ModelOutput):
    """What the parts compare, in float32; None of a part that is not trained.

    `masked_logits` [M, V]; `words` [B, W, Ht]; queries of the student and keys of the teacher [N, P], of which the rows
    from `own[0]` up to `own[1]` are this worker's. N counts the rows of all workers where they are gathered.
    """

    masked_logits: Tensor | None = None
    words: Tensor | None = None
    sentence_query: Tensor | None = None
    sentence_key: Tensor | None = None
    structure_query: Tensor | None = None
    structure_key: Tensor | None = None
    own: tuple[int, int] | None = None


class MultilevelModel(nn.Module):
    """A student encoder with training heads; its folder is the encoder's, heads that are drawn here are never written.

    Masked tokens are scored by the encoder's own head, or by one that is drawn here where it has none.
    All parts whose inputs are there are computed, also of a worker without rows: a worker that left one out would leave
    the others waiting for its gradients. A step without a teacher leaves out sentences and words, on all workers.

    Args:
        seed: of the heads' weights, which are so the same on all workers.
    """

    def __init__(self, encoder: SentenceEncoder, options: MultilevelOptions, *, seed: int) -> None:
        super().__init__()
        self.encoder, self.options = encoder, options
        width, parts = encoder.width, options.parts
        self.mlm = self.sentence_heads = self.structure_heads = None
        self.width: nn.Module = nn.Identity()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if "tlm" in parts and encoder.masked_head is None:
                self.mlm = _MaskedTokenHead(encoder)
            if "sentence" in parts:
                self.sentence_heads = _Heads(width, options)
            if "structure" in parts:
                self.structure_heads = _Heads(width, options)
            if "word" in parts and width != options.teacher_width:
                # A bias would add the same to the scores of all words against a teacher's word.
                self.width = nn.Linear(width, options.teacher_width, bias=False)

    @property
    def config(self) -> PreTrainedConfig:
        """The encoder's configuration."""
        return self.encoder.config

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's input embeddings."""
        return self.encoder.get_input_embeddings()

    def forward(self, **inputs: Any) -> MultilevelOutput | EncoderOutput:
        """What each part compares; with `input_ids` among the inputs, what the encoder alone says of them.

        Args:
            x_ids, x_mask: [B, Lx] sentences of the other language, for `sentence` and `structure`.
            teacher_sentence: [B, Ht] the teacher's vectors of the English ones.
            rows: how many of the B are real, the first ones; 0 of a worker that has none left and repeats any others.
            counts: `rows` of each worker; None or left out compares only with rows of this worker.
            tlm_ids, tlm_mask: [B, L] masked pairs, for `tlm`; `tlm_types` where the encoder has token types.
            tlm_rows, tlm_columns: [M] where the masked tokens are.
            context_ids, context_mask: [B, L2] pairs, for `word`; `context_types` where the encoder has token types.
            word_first: [B, W] position of each English word's first piece.
        """
        if "input_ids" in inputs:
            return self.encoder(**inputs)
        found: dict[str, Any] = {}
        if "x_ids" in inputs and (self.sentence_heads is not None or self.structure_heads is not None):
            found |= self._sentences(
                inputs["x_ids"],
                inputs["x_mask"],
                teacher_sentence=inputs["teacher_sentence"],
                rows=inputs["rows"],
                counts=inputs.get("counts"),
            )
        if "tlm" in self.options.parts:
            head = cast(nn.Module, self.encoder.masked_head if self.mlm is None else self.mlm)
            hidden = self.encoder.hidden(inputs["tlm_ids"], inputs["tlm_mask"], inputs.get("tlm_types"))
            # The product with the vocabulary costs as much as the encoder: only where a token is asked for.
            found["masked_logits"] = head(hidden[inputs["tlm_rows"], inputs["tlm_columns"]])
        if "word" in self.options.parts and "context_ids" in inputs:
            read = self.encoder(
                input_ids=inputs["context_ids"],
                attention_mask=inputs["context_mask"],
                token_type_ids=inputs.get("context_types"),
                first=inputs["word_first"],
            )
            found["words"] = self.width(read.words).float()
        return MultilevelOutput(**found)

    def _sentences(
        self, x_ids: Tensor, x_mask: Tensor, *, teacher_sentence: Tensor, rows: int, counts: Sequence[int] | None
    ) -> dict[str, Any]:
        """Queries and keys; vectors are gathered before the heads, whose batch statistics are so those of all rows."""
        student, teacher = self.encoder(input_ids=x_ids, attention_mask=x_mask).sentence, teacher_sentence.float()
        own = (0, rows)
        if self.options.gather and counts is not None:
            rank, _ = rank_and_size()
            own = (sum(counts[:rank]), sum(counts[: rank + 1]))
            student, teacher = gather_rows(student[:rows], counts), gather_rows(teacher[:rows], counts)
        elif rows:
            student, teacher = student[:rows], teacher[:rows]
        found: dict[str, Any] = {"own": own}
        for name, heads in (("sentence", self.sentence_heads), ("structure", self.structure_heads)):
            if heads is not None:
                found[f"{name}_query"], found[f"{name}_key"] = heads(student, teacher)
        return found

    def save_pretrained(self, folder: Path, *, state_dict: dict[str, Tensor]) -> None:
        """Write the encoder; `state_dict` holds the weights of the whole model."""
        prefix = "encoder."
        encoder = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
        self.encoder.save_pretrained(folder, state_dict=encoder)


class _MaskedTokenHead(nn.Module):
    """Scores of all tokens for hidden states: BERT's head, whose matrix is that of the input embeddings.

    The matrix is a parameter of this module too: ZeRO-3 gathers it for those modules that have it.
    """

    def __init__(self, encoder: SentenceEncoder) -> None:
        super().__init__()
        self.weight = encoder.get_input_embeddings().get_parameter("weight")
        num_tokens, size = self.weight.shape
        self.transform = nn.Linear(encoder.width, size)
        self.norm = nn.LayerNorm(size)
        self.bias = nn.Parameter(torch.zeros(num_tokens))
        nn.init.normal_(self.transform.weight, std=getattr(encoder.config.get_text_config(), "initializer_range", 0.02))
        nn.init.zeros_(self.transform.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """[M, V] of [M, H]."""
        transformed = self.norm(functional.gelu(self.transform(hidden)))
        return functional.linear(transformed, self.weight, self.bias).float()


class _Heads(nn.Module):
    """Projector and predictor of the student, and a projector of the teacher that is random and stays so."""

    def __init__(self, width: int, options: MultilevelOptions) -> None:
        super().__init__()
        size, norm, teacher_width = options.projection_size, options.norm, options.teacher_width
        self.projector = _perceptron(width, width, size, norm=norm)
        self.projected_norm = _norm(norm, size, affine=False)
        self.predictor = _perceptron(size, width, size, norm=norm)
        self.teacher_projector = _perceptron(teacher_width, teacher_width, size, norm=norm, fixed=True)

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Query and key, each [N, P], of sentence vectors [N, H] and [N, Ht]."""
        query = self.predictor(self.projected_norm(self.projector(student)))
        with torch.no_grad():
            key = self.projected_norm(self.teacher_projector(teacher))
        return query.float(), key.float()


def _perceptron(inputs: int, hidden: int, outputs: int, *, norm: Norm, fixed: bool = False) -> nn.Sequential:
    linear = _FixedLinear if fixed else _linear
    return nn.Sequential(
        OrderedDict(
            hidden=linear(inputs, hidden),
            norm=_norm(norm, hidden, affine=not fixed),
            relu=nn.ReLU(),
            out=linear(hidden, outputs),
        )
    )


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


class _FixedLinear(nn.Module):
    """A linear layer as it is drawn: no parameter, so nothing trains it."""

    weight: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("weight", _linear(inputs, outputs).weight.detach())

    def forward(self, rows: Tensor) -> Tensor:
        return functional.linear(rows, self.weight)


def _norm(kind: Norm, width: int, *, affine: bool) -> nn.Module:
    return _BatchNorm(width, affine=affine) if kind == "batch" else nn.LayerNorm(width, elementwise_affine=affine)


class _BatchNorm(nn.BatchNorm1d):
    """Batch normalisation by the rows at hand, in training and in evaluation; a row alone is not normalised."""

    def __init__(self, width: int, *, affine: bool) -> None:
        super().__init__(width, affine=affine, track_running_stats=False)

    def forward(self, input: Tensor) -> Tensor:
        """[N, width] of [N, width], in float32."""
        rows = input.float()
        if len(rows) > 1:
            return super().forward(rows)
        # Weight and bias keep their part in the graph.
        return rows * self.weight + self.bias if self.affine else rows
