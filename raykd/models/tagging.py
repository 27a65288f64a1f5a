"""Sequence labelling models: any transformers encoder, an optional BiLSTM, label scores for words, a CRF's scores."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from transformers import AutoConfig, AutoModel, BertModel, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import ModelOutput

from raykd.errors import DataError
from raykd.models.encoder import without_pooler
from raykd.models.files import HEAD_CONFIG, HEAD_WEIGHTS
from raykd.models.loading import load_options, plain_load_errors
from raykd.models.qa import set_dropout
from raykd.models.tiny import tiny_config


@dataclass(frozen=True)
class TagHead:
    """What stands on the encoder.

    Attributes:
        labels: in the order of the label ids.
        kind: `crf`, or `softmax`, which is a CRF without transitions.
        pooling: `first` piece of a word, or the `mean` of its pieces.
        lstm_size: hidden size per direction of a BiLSTM; None is none.
        frozen_encoder: the encoder is not trained, and reads without dropout.
    """

    labels: tuple[str, ...]
    kind: str = "crf"
    pooling: str = "first"
    lstm_size: int | None = None
    frozen_encoder: bool = False


@dataclass
class TagOutput(ModelOutput):
    """Scores in float32: `emissions` [B, W, V], and of a CRF `between` [V, V] (from, to), `start` and `end` [V]. Or
    `words` [B, W, H] alone, where only these were asked for."""

    emissions: Tensor | None = None
    between: Tensor | None = None
    start: Tensor | None = None
    end: Tensor | None = None
    words: Tensor | None = None


class TransitionScores(nn.Module):
    """The transition scores of a linear-chain CRF; from 0, so that training begins as a softmax head would."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.between = nn.Parameter(torch.zeros(num_labels, num_labels))
        self.start = nn.Parameter(torch.zeros(num_labels))
        self.end = nn.Parameter(torch.zeros(num_labels))

    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        """Copies: under ZeRO-3 the parameters themselves are empty once this returns."""
        return self.between.float().clone(), self.start.float().clone(), self.end.float().clone()


class BiLSTM(nn.RNNBase):
    """A bidirectional LSTM over words whose parameters get their gradients together, in one order.

    In which order they get them otherwise depends on the sentences' lengths, and ZeRO-2 and 3 reduce over workers in
    the order of arrival: with other sentences on each worker, gradients of different parameters would be added up.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__("LSTM", width, size, batch_first=True, bidirectional=True)

    def forward(self, words: Tensor, word_mask: Tensor) -> Tensor:
        """[B, W, 2 * size] of [B, W, width]; what is no word is not read."""
        lengths = word_mask.sum(dim=1).cpu()
        packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
        state = packed.data.new_zeros(2, len(words), self.hidden_size)
        weights = list(_Together.apply(*self._flat_weights))
        read, *_ = torch._VF.lstm(
            packed.data, packed.batch_sizes, (state, state), weights, True, 1, 0.0, self.training, True
        )
        words_read = PackedSequence(read, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        return pad_packed_sequence(words_read, batch_first=True, total_length=words.shape[1])[0]


class _Together(torch.autograd.Function):
    """Its inputs, as one node of the graph: their gradients go on when all are there."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        return tuple(weight.view_as(weight) for weight in weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return gradients


class TagModel(nn.Module):
    """A folder of it holds the encoder as transformers writes it, `tag_head.safetensors` and `tag_head.json`."""

    def __init__(self, encoder: PreTrainedModel, head: TagHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        config = encoder.config.get_text_config()
        width = config.hidden_size
        self.dropout = nn.Dropout(getattr(config, "hidden_dropout_prob", 0.0) or 0.0)
        self.lstm = None
        if head.lstm_size:
            self.lstm = BiLSTM(width, head.lstm_size)
            width = 2 * head.lstm_size
        self.emissions = nn.Linear(width, len(head.labels))
        self.transitions = TransitionScores(len(head.labels)) if head.kind == "crf" else None
        self._begin_emissions()
        if head.frozen_encoder:
            encoder.requires_grad_(False)

    def _begin_emissions(self) -> None:
        config = self.config.get_text_config()
        nn.init.normal_(self.emissions.weight, std=getattr(config, "initializer_range", 0.02))
        nn.init.zeros_(self.emissions.bias)

    @torch.no_grad()
    def renew_head(self) -> None:
        """Initialise all that stands on the encoder again, from torch's generator."""
        if self.lstm is not None:
            self.lstm.reset_parameters()
        self._begin_emissions()
        if self.transitions is not None:
            for scores in self.transitions.parameters():
                nn.init.zeros_(scores)

    @property
    def config(self) -> Any:
        """The encoder's configuration."""
        return self.encoder.config

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's input embeddings."""
        return self.encoder.get_input_embeddings()

    def train(self, mode: bool = True) -> "TagModel":
        """As any module, but a frozen encoder stays without dropout."""
        super().train(mode)
        if self.head.frozen_encoder:
            self.encoder.eval()
        return self

    def forward(
        self,
        *,
        word_mask: Tensor,
        first: Tensor | None = None,
        last: Tensor | None = None,
        words: Tensor | None = None,
        words_only: bool = False,
        **inputs: Tensor,
    ) -> TagOutput:
        """Scores of words.

        Args:
            word_mask: [B, W] bool, True where there is a word.
            first, last: [B, W] positions of each word's first and last piece.
            words: [B, W, H] what the encoder says of each word, where it was read before; then nothing else is needed.
            words_only: return only these.
            inputs: `input_ids` and `attention_mask` [B, L], and what else the encoder reads.
        """
        if words is None:
            assert first is not None and last is not None, "words are pooled from pieces"
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.head.frozen_encoder):
                hidden = self.encoder(**inputs).last_hidden_state
            words = pool_words(hidden, first, last, self.head.pooling)
        if words_only:
            return TagOutput(words=words)
        words = self.dropout(words)
        if self.lstm is not None:
            words = self.dropout(self.lstm(words, word_mask))
        emissions = self.emissions(words).float()
        if self.transitions is None:
            return TagOutput(emissions=emissions)
        between, start, end = self.transitions()
        return TagOutput(emissions=emissions, between=between, start=start, end=end)

    def save_pretrained(self, folder: Path, *, state_dict: dict[str, Tensor]) -> None:
        """Write encoder and head; `state_dict` holds the weights of the whole model."""
        encoder = {name[8:]: tensor for name, tensor in state_dict.items() if name.startswith("encoder.")}
        head = {name: tensor for name, tensor in state_dict.items() if not name.startswith("encoder.")}
        self.encoder.save_pretrained(folder, state_dict=encoder)
        safetensors.torch.save_file(head, Path(folder) / HEAD_WEIGHTS)
        (Path(folder) / HEAD_CONFIG).write_text(json.dumps(asdict(self.head), ensure_ascii=False), encoding="utf-8")


def pool_words(hidden: Tensor, first: Tensor, last: Tensor, pooling: str) -> Tensor:
    """[B, W, H] of words out of [B, L, H] of pieces."""
    if pooling == "first":
        return hidden.gather(1, first[..., None].expand(-1, -1, hidden.shape[-1]))
    position = torch.arange(hidden.shape[1], device=hidden.device)
    inside = (position >= first[..., None]) & (position <= last[..., None])
    share = inside.to(hidden.dtype) / inside.sum(-1, keepdim=True).clamp(min=1).to(hidden.dtype)
    return share @ hidden


def load_head(folder: str) -> TagHead | None:
    """The head of a tagging model's folder; None where there is none.

    Raises:
        DataError: if it cannot be read.
    """
    path = Path(folder) / HEAD_CONFIG
    if not path.is_file():
        return None
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        return TagHead(**{**read, "labels": tuple(read["labels"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not a tagging head ({error}); export the model again") from error


def head_of(folder: str) -> TagHead:
    """The head of a tagging model's folder.

    Raises:
        DataError: if there is none, or it cannot be read.
    """
    found = load_head(folder)
    if found is None:
        raise DataError(f"{Path(folder) / HEAD_CONFIG}: missing; not a tagging model of raykd")
    return found


def load_tag_model(
    model: str, *, head: TagHead | None = None, dropout: float | None = None, freeze_encoder: bool | None = None
) -> TagModel:
    """A tagging model in float32 from a folder of ours, or a new head on a transformers folder or Hub id.

    A new head is initialised from torch's generator.

    Args:
        head: of a new head; None reads the folder's own.
        dropout: replaces every dropout probability of the configuration.
        freeze_encoder: takes the place of what a stored head says.

    Raises:
        DataError: if the model cannot be found or read, or has no head where it must.
    """
    stored = load_head(model)
    if stored is not None and freeze_encoder is not None:
        stored = replace(stored, frozen_encoder=freeze_encoder)
    wanted = stored if head is None else head
    if wanted is None:
        raise DataError(f"{model}: it has no tagging head; train one (base.train in a sweep file)")
    with plain_load_errors("model", model):
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        if dropout is not None:
            set_dropout(config, dropout)
        encoder = AutoModel.from_pretrained(model, **load_options(config), **without_pooler(config))
        loaded = TagModel(encoder, wanted)
        if head is None:
            missing, _ = loaded.load_state_dict(safetensors.torch.load_file(Path(model) / HEAD_WEIGHTS), strict=False)
            lost = [name for name in missing if not name.startswith("encoder.")]
            if lost:
                raise DataError(f"{model}: {HEAD_WEIGHTS} lacks {', '.join(lost)}; export the model again")
    return loaded.float()


def tiny_tag_model(tokenizer: PreTrainedTokenizerFast, head: TagHead, *, seed: int) -> TagModel:
    """A small random BERT for the built-in world: 2 layers of width 64, sized for seconds on one CPU core."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TagModel(BertModel(tiny_config(tokenizer), add_pooling_layer=False), head)
