"""A tiny student of multi-level distillation, its batches, and its training on two ranks."""

from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, BertModel, PreTrainedModel

from raykd.models.encoder import Pooling, SentenceEncoder
from raykd.models.multilevel import MultilevelModel, MultilevelOptions, MultilevelOutput

ALL_PARTS = frozenset({"tlm", "word", "sentence", "structure"})
SENTENCES = frozenset({"sentence", "structure"})
NUM_TOKENS, WIDTH, TEACHER_WIDTH, PROJECTION = 40, 16, 12, 8
NUM_ROWS = 5
SPLITS = ((3, 2), (1, 4), (5, 0))
"""How the rows are shared by two ranks."""


def bert(**options: Any) -> PreTrainedModel:
    """A random BERT without dropout whose sentences differ."""
    sizes = {"vocab_size": NUM_TOKENS, "hidden_size": WIDTH, "intermediate_size": 24, "num_attention_heads": 2}
    shape = {"num_hidden_layers": 2, "max_position_embeddings": 32, "initializer_range": 0.3}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(0)
    return BertModel(BertConfig(**sizes | shape | still | options), add_pooling_layer=False)


def student(
    encoder: PreTrainedModel | None = None, *, seed: int = 1, pooling: Pooling = "cls", **options: Any
) -> MultilevelModel:
    chosen = {"teacher_width": TEACHER_WIDTH, "parts": ALL_PARTS, "norm": "batch", "projection_size": PROJECTION}
    wrapped = SentenceEncoder(bert() if encoder is None else encoder, pooling)
    return MultilevelModel(wrapped, MultilevelOptions(**chosen | options), seed=seed)


def batch() -> dict[str, Any]:
    """What all parts read: five sentences, and two pairs of five."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, NUM_TOKENS, (NUM_ROWS, 6), generator=generator)
    pairs = torch.randint(5, NUM_TOKENS, (2, 9), generator=generator)
    mask, pair_mask = torch.ones_like(ids), torch.ones_like(pairs)
    mask[1, 4:] = mask[3, 3:] = pair_mask[1, 7:] = 0
    return {
        "x_ids": ids,
        "x_mask": mask,
        "teacher_sentence": torch.randn(NUM_ROWS, TEACHER_WIDTH, generator=generator),
        "counts": None,
        "rows": NUM_ROWS,
        "tlm_ids": pairs,
        "tlm_mask": pair_mask,
        "tlm_rows": torch.tensor([0, 0, 1]),
        "tlm_columns": torch.tensor([2, 7, 4]),
        "context_ids": pairs.flip(0),
        "context_mask": pair_mask.flip(0),
        "word_first": torch.tensor([[1, 2, 4], [1, 3, 0]]),
    }


def share_of(rank: int, counts: tuple[int, ...]) -> dict[str, Any]:
    """The sentences of one rank, all that a batch of it holds; a rank without any repeats the first."""
    whole = batch()
    names = ("x_ids", "x_mask", "teacher_sentence")
    parts = {name: whole[name].split(counts)[rank] if counts[rank] else whole[name][:1] for name in names}
    return parts | {"counts": counts, "rows": counts[rank]}


def loss_of(output: MultilevelOutput) -> Tensor:
    """Of the own rows, a sum in which every output has a part, and every row meets all others."""
    start, stop = output.own
    loss = ((output.sentence_query - output.sentence_key)[start:stop] ** 2).sum()
    own = output.structure_query[start:stop] @ output.structure_query.T / 9
    target = output.structure_key[start:stop] @ output.structure_key.T / 9
    loss = loss + ((own.log_softmax(-1) - target.log_softmax(-1)) ** 2).sum()
    for other in (output.masked_logits, output.words):
        loss = loss if other is None else loss + (other**2).sum() / 10
    return loss


def loss_and_gradients(model: MultilevelModel, inputs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor | None]]:
    loss = loss_of(model(**inputs))
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


def trained(rank: int) -> dict[tuple[str, tuple[int, ...]], tuple[Tensor, dict[str, Tensor | None]]]:
    """For each norm and split the loss of one rank and the gradients that it has."""
    return {
        (norm, counts): loss_and_gradients(student(norm=norm, parts=SENTENCES).train(), share_of(rank, counts))
        for norm in ("batch", "layer")
        for counts in SPLITS
    }
