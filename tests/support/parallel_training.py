"""A few sentence pairs, a tiny teacher and student of theirs, and steps of training on one process or on several."""

from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, distributed
from transformers import PreTrainedTokenizerFast

from raykd.config.training import Batching
from raykd.data.examples import SentencePair
from raykd.models.encoder import SentenceEncoder
from raykd.models.gather import rank_and_size
from raykd.models.multilevel import MultilevelModel
from raykd.tasks import TASKS
from raykd.tasks.parallel.config import MultilevelConfig, ParallelDistillation
from raykd.tasks.parallel.features import PairFeatures
from raykd.tasks.parallel.teachers import LiveTeacher
from raykd.tasks.parallel.terms import EpochPairs
from raykd.tasks.parallel.windows import build_pair_features
from raykd.worker.loop import EpochData, Timeline, WeightedLoss, train_epoch
from raykd.worker.training import loss_terms
from support.tiny_multilevel import TEACHER_WIDTH, bert, student

CPU = torch.device("cpu")
TEXTS = (
    ("old city", "alte stadt"),
    ("the river is old , and the city on the river is old", "der fluss ist alt und die stadt am fluss auch"),
    ("where is the city ?", "wo ist die stadt ?"),
    ("old city", "ciudad vieja"),
    ("rivers", "el agua del rio pasa por la ciudad vieja"),
    ("the answer is a river", "la respuesta es un rio"),
    ("where is the city ?", "where is the city ?"),
)
"""Of different lengths, and two English sentences that two pairs share."""
PAIRS = tuple(SentencePair(f"p{number}", "xx", *texts) for number, texts in enumerate(TEXTS))
STEPS = (np.array([5, 2, 0, 6, 1, 3, 4]), np.array([6, 1, 4, 2]), np.array([4, 1]), np.array([3]))
"""Of three ranks the second leaves one row each to two of them, the third and the last leave ranks without any."""
WEIGHTS = {"label_weight": 0.7, "kd_weight": 1.3}
LEVELS = {"word_weight": 0.5, "sentence_weight": 2.0, "structure_weight": 7.0, "structure_temperature": 0.5}


def tokenizer(*words: str) -> PreTrainedTokenizerFast:
    """WordPiece of some whole words; all others are spelled."""
    letters = "abcdefghijklmnopqrstuvwxyz?,"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters), *words]
    backend = Tokenizer(models.WordPiece({token: row for row, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, mask_token="[MASK]", **names)


def features() -> PairFeatures:
    """Two pieces or more of most words for the student, one of many for the teacher."""
    reads = tokenizer("the", "is", "alt", "##er", "riv", "stadt"), tokenizer("the", "old", "city", "river", "where")
    return build_pair_features(PAIRS, *reads, max_length=60)


def distillation(**multilevel: Any) -> ParallelDistillation:
    return ParallelDistillation(**WEIGHTS, multilevel=MultilevelConfig(**LEVELS | multilevel))


def teacher_encoder() -> SentenceEncoder:
    sizes = {"hidden_size": TEACHER_WIDTH, "num_attention_heads": 3, "num_hidden_layers": 1}
    return SentenceEncoder(bert(vocab_size=100, max_position_embeddings=64, **sizes), "mean").eval()


def new_student(config: ParallelDistillation) -> MultilevelModel:
    multilevel = config.multilevel
    encoder = bert(vocab_size=100, max_position_embeddings=64)
    options = {"norm": multilevel.norm, "gather": multilevel.relations == "gathered"}
    return student(encoder, pooling=multilevel.pooling, **options)


class Gradients:
    """An engine that averages gradients over ranks as DeepSpeed does, and then leaves the weights as they are."""

    device = CPU

    def __init__(self, model: MultilevelModel) -> None:
        self.model = model
        self.rank, self.world_size = rank_and_size()

    def __call__(self, **inputs: Tensor) -> Any:
        return self.model(**inputs)

    def train(self) -> None:
        self.model.train()

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def step(self, learning_rate: float) -> None:
        for parameter in self.model.parameters():
            # A parameter without a gradient on some rank would make the others wait for it.
            parameter.grad /= self.world_size
            if self.world_size > 1:
                distributed.all_reduce(parameter.grad)


def trained(
    step: np.ndarray, config: ParallelDistillation, *, micro_batch_examples: int | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The losses of a step, [6] total, label, KD, word, sentence, structure, and its gradients."""
    model, pairs, task = new_student(config), features().at(3, 1), TASKS["parallel"]
    batching = Batching(tokens_per_step=4096, micro_batch_tokens=4096, micro_batch_examples=micro_batch_examples)
    teacher = LiveTeacher(pairs, pairs.english, teacher_encoder(), config, device=CPU)
    stats = train_epoch(
        Gradients(model),
        EpochData([step], EpochPairs.of(pairs, [step]), pairs.lengths),
        loss=WeightedLoss(loss_terms(task, config, padding=False), teacher, **WEIGHTS, parts=task.learning.parts),
        batching=batching,
        timeline=Timeline(first_step=0, total_steps=1, schedule_start=0, schedule_steps=1),
        seed=0,
    )
    return torch.tensor(stats.losses[0]), {name: each.grad for name, each in model.named_parameters()}


def trained_on_ranks(rank: int) -> dict[tuple[str, int], tuple[Tensor, dict[str, Tensor]]]:
    """Norm and number of a step -> what came of it."""
    return {
        (norm, number): trained(step, distillation(norm=norm))
        for norm in ("batch", "layer")
        for number, step in enumerate(STEPS)
    }
