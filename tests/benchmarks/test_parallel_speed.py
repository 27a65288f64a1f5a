"""Pairs per second of multi-level distillation, against the released procedure as a plain loop, in one run.

The naive step (arXiv:2211.01200, its released code) has four passes of the student (the other sentence twice, the pair
with masked words, the pair with masked pieces) and three of the teacher, of the same English sentences. It scores the
vocabulary at every position, and goes from word to word in Python. Weights, masks and losses are those of raykd, so it
does not repeat what else is wrong with the released code.

Student and teacher are BERTs of 6 x 384 with random weights. With RAYKD_DATA set, the pairs are software help text in
mBERT's pieces and its vocabulary of 119,547; without it, random words of about the same lengths and 30,000 pieces.
"""

import copy
import functools
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import BertConfig, BertModel, BertTokenizer, PreTrainedTokenizerFast

from raykd.config.training import Batching
from raykd.data.bitext import read_pairs
from raykd.data.examples import SentencePair
from raykd.data.sources import SourceRef
from raykd.executors.capacity import WORKER_ENVIRONMENT
from raykd.models.cpu import use_cpu_kernels
from raykd.models.encoder import SentenceEncoder
from raykd.models.multilevel import MultilevelModel, MultilevelOptions
from raykd.results.artifacts import Store
from raykd.tasks.parallel import PARALLEL
from raykd.tasks.parallel.config import ParallelDistillation
from raykd.tasks.parallel.features import PairFeatures
from raykd.tasks.parallel.model import model_inputs
from raykd.tasks.parallel.teachers import LiveTeacher, StoredTeacher
from raykd.tasks.parallel.terms import EpochPairs
from raykd.tasks.parallel.windows import build_pair_features
from raykd.tasks.teaching import Teacher
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine, EngineOptions
from raykd.worker.loop import EpochData, Timeline, WeightedLoss, train_epoch
from raykd.worker.training import loss_terms

NUM_STEPS, PAIRS_PER_STEP = 4, 32
MAX_LENGTH = 128
LANGUAGES = ("de", "el", "es", "hi", "ru", "tr", "vi", "zh")
LEARNING, CONFIG, CPU = PARALLEL.learning, ParallelDistillation(), torch.device("cpu")
BATCHING = Batching(learning_rate=2e-4, lr_schedule="constant")
WEIGHTS = {"tlm": 1.0, "word": 1.0, "sentence": 1.0, "structure": 10.0}
"""Of the released code, and raykd's defaults."""
THREADS = int(os.environ.get("OMP_NUM_THREADS") or min(2, os.cpu_count() or 1))


def random_pairs(number: int, *, num_words: int, longest: int) -> list[SentencePair]:
    """Pairs of random words, of which one in five has two pieces; in length like help text, up to `longest` words."""
    generator = np.random.default_rng(0)

    def text(count: float) -> str:
        size = int(np.clip(count, 2, longest))
        words, rests = generator.integers(num_words, size=(2, size))
        split = generator.random(size) < 0.2
        return " ".join(f"w{word}" + f"x{rest}" * int(two) for word, rest, two in zip(words, rests, split, strict=True))

    counts = generator.gamma(2, longest / 6, number)
    return [SentencePair(f"de:{row}", "de", text(count), text(1.4 * count)) for row, count in enumerate(counts)]


def random_tokenizer(num_words: int) -> PreTrainedTokenizerFast:
    """Makes one piece of `w1`, and two of `w1x2`."""
    pieces = [*(f"w{number}" for number in range(num_words)), *(f"##x{number}" for number in range(num_words))]
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    vocabulary = {piece: number for number, piece in enumerate([*special.values(), *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=MAX_LENGTH, model_input_names=names, **special
    )


def random_features(number: int, *, num_words: int, longest: int) -> PairFeatures:
    tokenizer = random_tokenizer(num_words)
    pairs = random_pairs(number, num_words=num_words, longest=longest)
    return build_pair_features(pairs, tokenizer, tokenizer, max_length=MAX_LENGTH).at(1, 0)


@functools.cache
def read_features() -> tuple[PairFeatures, int]:
    """The pairs of all steps with their masks, and the size of the vocabulary."""
    number, folder = NUM_STEPS * PAIRS_PER_STEP, os.environ.get("RAYKD_DATA")
    if not folder:
        return random_features(number, num_words=14_997, longest=50), 30_000
    reference = SourceRef(path="parallel/help/en-{language}.tsv")
    found = read_pairs(reference, languages=LANGUAGES, folder=Path(folder), codes={"zh": "zh-CN"})
    pairs = [pair for each in found.values() for pair in each.pairs]
    chosen = [pairs[index] for index in np.random.default_rng(0).permutation(len(pairs))[:number]]
    vocabulary = str(Path(folder) / "tokenizers" / "mbert-cased" / "vocab.txt")
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=False, model_max_length=512)
    return build_pair_features(chosen, tokenizer, tokenizer, max_length=MAX_LENGTH).at(1, 0), 119_547


def like_lengths(features: PairFeatures) -> list[np.ndarray]:
    """Steps of equally many pairs of like lengths, as a token budget puts them together."""
    order = np.argsort(features.lengths, kind="stable")
    return [order[start : start + PAIRS_PER_STEP] for start in range(0, len(order), PAIRS_PER_STEP)]


def new_encoder(vocab_size: int, *, seed: int, **options: float) -> SentenceEncoder:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 1536}
    config = BertConfig(vocab_size=vocab_size, **sizes | options)
    return SentenceEncoder(BertModel(config, add_pooling_layer=False), "cls")


def new_student(encoder: SentenceEncoder) -> MultilevelModel:
    parts = frozenset({"tlm", "word", "sentence", "structure"})
    return MultilevelModel(encoder, MultilevelOptions(encoder.width, parts, "batch"), seed=2)


class Naive:
    """The released procedure. It has the student's weights and heads, and its own way through them."""

    def __init__(self, student: MultilevelModel, teacher: SentenceEncoder) -> None:
        self.student, self.teacher = student.train(), teacher.requires_grad_(False).eval()
        self.optimizer = torch.optim.AdamW(student.parameters(), BATCHING.learning_rate, weight_decay=0.0, fused=True)

    def step(self, features: PairFeatures, step: np.ndarray, *, pad_to: int | None) -> dict[str, float]:
        """Train on a step; its loss and the terms of it."""
        batch = features.collate(step, pad_to=pad_to)
        english = features.english.collate(features.english_of[step], pad_to=pad_to)
        losses = {}
        for name, weight in WEIGHTS.items():
            # The graph of one term at a time: that takes less memory, and as long.
            loss = getattr(self, name)(batch, english)
            (weight * loss).backward()
            losses[name] = loss.item()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"total": sum(weight * losses[name] for name, weight in WEIGHTS.items()), **losses}

    def tlm(self, batch: Mapping[str, Tensor], _: Mapping[str, Tensor]) -> Tensor:
        hidden = self.student.encoder.hidden(batch["tlm_ids"], batch["tlm_mask"], batch["tlm_types"])
        labels = torch.full_like(batch["tlm_ids"], -100)
        labels[batch["tlm_rows"], batch["tlm_columns"]] = batch["tlm_labels"]
        return F.cross_entropy(self.student.mlm(hidden).flatten(0, 1), labels.flatten(), ignore_index=-100)

    def word(self, batch: Mapping[str, Tensor], english: Mapping[str, Tensor]) -> Tensor:
        hidden = self.student.encoder.hidden(batch["context_ids"], batch["context_mask"], batch["context_types"])
        taught, sentences = self.taught(english), []
        for row, states in enumerate(hidden):
            words = states[batch["word_first"][row, batch["word_mask"][row]]]
            losses = []
            for place in batch["word_masked"][row].nonzero().flatten().tolist():
                # The student's words begin with CLS, those of the teacher's sentence do not.
                scores = words @ taught[row, english["first"][row, place - 1]]
                losses.append(scores.logsumexp(0) - scores[place])
            if losses:
                sentences.append(torch.stack(losses).mean())
        return torch.stack(sentences).mean()

    def sentence(self, batch: Mapping[str, Tensor], english: Mapping[str, Tensor]) -> Tensor:
        read = self.student.encoder.hidden(batch["x_ids"], batch["x_mask"])[:, 0]
        query, key = self.student.sentence_heads(read, self.taught(english)[:, 0])
        return (2 - 2 * F.cosine_similarity(query, key)).mean()

    def structure(self, batch: Mapping[str, Tensor], english: Mapping[str, Tensor]) -> Tensor:
        read = self.student.encoder.hidden(batch["x_ids"], batch["x_mask"])[:, 0]
        sides = self.student.structure_heads(read, self.taught(english)[:, 0])
        query, key = (F.normalize(side) for side in sides)
        return F.kl_div((query @ query.T).log_softmax(-1), (key @ key.T).softmax(-1), reduction="batchmean")

    @torch.no_grad()
    def taught(self, english: Mapping[str, Tensor]) -> Tensor:
        return self.teacher.hidden(english["input_ids"], english["attention_mask"], english["token_type_ids"])


class Bench:
    """raykd's loop with a warm engine, and its two teachers."""

    def __init__(
        self, features: PairFeatures, student: MultilevelModel, teacher: SentenceEncoder, folder: Path
    ) -> None:
        WorkerContext.open(Store(folder), folder, alone=True, threads=torch.get_num_threads())
        options = EngineOptions(0, "none", "float32", BATCHING.learning_rate, 0.0, 1e-8, 0.0)
        self.features, self.student = features, Engine(student, options)
        self.teacher = Engine(teacher, options, frozen=True)
        self.live = LiveTeacher(features, features.english, self.teacher, CONFIG, device=CPU)
        vectors = self.signals().to(LEARNING.stored_dtype)
        self.stored = StoredTeacher(features, features.english, vectors, CONFIG, device=CPU)

    @torch.no_grad()
    def signals(self) -> Tensor:
        """What the teacher says of every English sentence, end to end, as `passes` stores it."""
        english, found = self.features.english, []
        for rows in np.array_split(np.arange(len(english)), -(-len(english) // PAIRS_PER_STEP)):
            vectors = LEARNING.signals(self.teacher(**model_inputs(english.collate(rows))))["vectors"]
            found += [each[: english.signal_lengths[row]] for each, row in zip(vectors, rows, strict=True)]
        return torch.cat(found)

    def epoch(self, teacher: Teacher, steps: Sequence[np.ndarray]) -> list[dict[str, float]]:
        """Train on some steps; the loss of each and the terms of it."""
        terms = loss_terms(PARALLEL, CONFIG, padding=False)
        stats = train_epoch(
            self.student,
            EpochData(steps, EpochPairs.of(self.features, steps), self.features.lengths),
            loss=WeightedLoss(terms, teacher, kd_weight=1.0, parts=LEARNING.parts),
            batching=BATCHING,
            timeline=Timeline(first_step=0, total_steps=len(steps), schedule_start=0, schedule_steps=len(steps)),
            seed=1,
        )
        columns = "total", "tlm", *stats.parts
        return [dict(zip(columns, [row[0], row[1], *row[3:]], strict=True)) for row in stats.losses]


# Losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signals", "pad_to", "tolerance"),
    [("live", None, 1e-5), ("live", MAX_LENGTH, 1e-5), ("stored", None, 1e-4)],  # stored in half precision
)
def test_the_fewest_passes_give_the_losses_of_the_naive_procedure(signals, pad_to, tolerance, tmp_path):
    features = random_features(3 * PAIRS_PER_STEP, num_words=100, longest=20)
    options = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    options |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.2}
    encoder, teacher = (new_encoder(205, seed=seed, **options) for seed in (0, 1))
    naive = Naive(new_student(encoder), teacher)
    bench = Bench(features, copy.deepcopy(naive.student), teacher, tmp_path)
    steps = like_lengths(features)
    found = bench.epoch(getattr(bench, signals), steps)
    # From the second step on, losses agree only where gradients did.
    for step, losses in zip(steps, found, strict=True):
        expected = naive.step(features, step, pad_to=pad_to)
        assert losses == pytest.approx(expected, rel=tolerance, abs=tolerance)


# Speed ------------------------------------------------------------------------------------------------------------

SIDES = "naive, padded to 128", "naive, like lengths", "raykd, stored signals", "raykd, live teacher"
PADDED, LIKE, STORED, LIVE = SIDES


@functools.cache
def warm_naive(*, pad_to: int | None) -> Naive:
    """The naive side; where it pads to the longest of a batch, its dropout and linear layers are raykd's too."""
    features, vocab_size = read_features()
    student, teacher = new_student(new_encoder(vocab_size, seed=0)), new_encoder(vocab_size, seed=1)
    if pad_to is None:
        use_cpu_kernels(student)
        use_cpu_kernels(teacher)
    naive = Naive(student, teacher)
    naive.step(features, like_lengths(features)[-1], pad_to=pad_to)
    return naive


@functools.cache
def warm_bench(folder: Path) -> Bench:
    features, vocab_size = read_features()
    student, teacher = new_student(new_encoder(vocab_size, seed=0)), new_encoder(vocab_size, seed=1)
    use_cpu_kernels(student)
    use_cpu_kernels(teacher)
    bench = Bench(features, student, teacher, folder)
    bench.epoch(bench.live, like_lengths(features)[-1:])
    return bench


def seconds(name: str, number: int, folder: Path) -> float:
    """What a side takes for a step, once it has the widest one behind it."""
    features, _ = read_features()
    step = like_lengths(features)[number]
    if name in {PADDED, LIKE}:
        pad_to = MAX_LENGTH if name == PADDED else None
        train = functools.partial(warm_naive(pad_to=pad_to).step, features, step, pad_to=pad_to)
    else:
        bench = warm_bench(folder)
        train = functools.partial(bench.epoch, bench.stored if name == STORED else bench.live, [step])
    started = time.perf_counter()
    train()
    return time.perf_counter() - started


@pytest.fixture
def processes(monkeypatch) -> Iterator[dict[str, ProcessPoolExecutor]]:
    """For each side a process: the released one's as anybody starts it, the others' with raykd's environment."""
    spawn = multiprocessing.get_context("spawn")
    options = {"mp_context": spawn, "initializer": torch.set_num_threads, "initargs": (THREADS,)}
    with ProcessPoolExecutor(1, **options) as plain, ProcessPoolExecutor(1, **options) as worker:
        plain.submit(os.getpid).result()
        for name, value in WORKER_ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        worker.submit(os.getpid).result()
        yield {name: plain if name == PADDED else worker for name in SIDES}


@pytest.mark.benchmark
def test_a_step_of_multi_level_distillation_against_the_naive_procedure(processes, tmp_path):
    features, vocab_size = read_features()
    taken = dict.fromkeys(SIDES, 0.0)
    # In turns, so that a slow moment of the machine meets all of them.
    for number in range(NUM_STEPS):
        for name, process in processes.items():
            taken[name] += process.submit(seconds, name, number, tmp_path).result()
    print(f"\n{NUM_STEPS} steps of {PAIRS_PER_STEP} pairs of {features.lengths.mean():.0f} of {vocab_size:,} pieces")
    for name, each in taken.items():
        against = [naive for naive in (PADDED, LIKE) if name in {STORED, LIVE}]
        ratios = [f"{taken[naive] / each:.2f} times ({naive})" for naive in against]
        print("; ".join([f"{name}: {len(features) / each:.2f} pairs/s", *ratios]))
    assert taken[LIKE] / taken[STORED] >= 1.5
    assert taken[PADDED] / taken[LIVE] >= 1.5
