"""How fast the parts are, as ratios of two ways measured in one run on one machine. `make benchmark` prints them.

The model is a 4 x 256 BERT with random weights. With RAYKD_DATA set, tokens and lengths are those of real XQuAD in
mBERT's pieces; without it, random tokens of about the same lengths (mean 238 of at most 384).
"""

import functools
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
import yaml
from support.tiny_sweeps import sweep
from torch import nn
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizer

from raykd.cli import main
from raykd.config.training import Batching
from raykd.data.batching import order_epoch
from raykd.data.sampling import cross_lingual_pairs
from raykd.data.sources import SourceRef
from raykd.data.squad import read_parallel
from raykd.executors.capacity import WORKER_ENVIRONMENT
from raykd.models.cpu import use_cpu_kernels
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.tasks.parallel.model import model_inputs
from raykd.tasks.qa import QA
from raykd.tasks.qa.config import QaDistillation
from raykd.tasks.qa.features import QAFeatures, build_features
from raykd.tasks.qa.teachers import StoredTeacher
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine, EngineOptions
from raykd.worker.loop import EpochData, Timeline, WeightedLoss, train_epoch
from raykd.worker.training import loss_terms

pytestmark = pytest.mark.benchmark

NUM_WINDOWS = 192
MAX_LENGTH = 384
XQUAD_LANGUAGES = ("en", "es", "de", "ar", "vi", "hi", "zh")
RELEASED = {"temperature": 2.0, "micro_batch": 6, "accumulate": 4, "window": (5, 4), "k": 10}


@pytest.fixture(scope="module", autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def features() -> QAFeatures:
    return read_features()


@functools.cache
def read_features() -> QAFeatures:
    """192 windows."""
    folder = os.environ.get("RAYKD_DATA")
    if not folder:
        return random_features()
    reference = SourceRef(path="xquad/xquad.{language}.json")
    items = read_parallel(reference, languages=XQUAD_LANGUAGES, folder=Path(folder))
    examples = cross_lingual_pairs(items, num_target_languages=5, languages=XQUAD_LANGUAGES, seed=3)
    vocabulary = str(Path(folder) / "tokenizers" / "mbert-cased" / "vocab.txt")
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=False, model_max_length=512)
    chosen = [examples[index] for index in np.random.default_rng(0).permutation(len(examples))[:NUM_WINDOWS]]
    built = build_features(
        chosen, tokenizer, max_length=MAX_LENGTH, stride=128, max_question_length=64, no_answer="drop"
    )
    return built.take(np.arange(min(NUM_WINDOWS, len(built))))


def random_features() -> QAFeatures:
    """Windows of random tokens, about as long as those of XQuAD."""
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.gamma(7.0, 34.0, NUM_WINDOWS), 60, MAX_LENGTH).astype(int)
    total, question = int(lengths.sum()), 20
    gold = np.stack([question + generator.integers(0, lengths - question - 4)] * 2, axis=1)
    return QAFeatures(
        ids=tuple(f"w{number}#0" for number in range(NUM_WINDOWS)),
        example=np.arange(NUM_WINDOWS),
        bounds=np.concatenate([[0], np.cumsum(lengths)]),
        tokens=generator.integers(1000, 100_000, total).astype(np.int32),
        types=np.zeros(total, dtype=np.int8),
        chars=np.zeros((total, 2), dtype=np.int32),
        context=np.stack([np.full(NUM_WINDOWS, question), lengths - 1], axis=1),
        gold=gold,
        pad=0,
        has_types=True,
    )


def new_model(*, dropout: float = 0.1) -> BertForQuestionAnswering:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=119_547,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return BertForQuestionAnswering(config)


def released_epoch(features: QAFeatures) -> float:
    """Seconds of the released procedure as a plain loop: pad to 384, micro-batches of 6, accumulate 4, a live teacher,
    the coefficient in Python."""
    student, teacher = new_model(), new_model().eval()
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-5)
    divergence = nn.KLDivLoss(reduction="batchmean")
    temperature, size = RELEASED["temperature"], RELEASED["micro_batch"]
    order = np.random.default_rng(1).permutation(len(features))
    started = time.perf_counter()
    student.train()
    for number, first in enumerate(range(0, len(order), size)):
        batch = features.collate(order[first : first + size], pad_to=MAX_LENGTH)
        inputs, gold = model_inputs(batch), batch["gold"]
        with torch.no_grad():
            target = teacher(**inputs)
        outputs = student(**inputs, start_positions=gold[:, 0], end_positions=gold[:, 1])
        kd = 0.0
        for name in ("start_logits", "end_logits"):
            log_student = torch.log_softmax(getattr(outputs, name) / temperature, dim=-1)
            kd = kd + divergence(log_student, torch.softmax(getattr(target, name) / temperature, dim=-1)) / 2
        sides = (target.start_logits, gold[:, 0]), (target.end_logits, gold[:, 1])
        coefficient = sum(python_coefficient(*side) for side in sides) / 2
        loss = (outputs.loss + coefficient * temperature**2 * kd) / RELEASED["accumulate"]
        loss.backward()
        if (number + 1) % RELEASED["accumulate"] == 0:
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return time.perf_counter() - started


def python_coefficient(logits: torch.Tensor, gold: torch.Tensor) -> float:
    """The coefficient of a micro-batch, one example after another, on the host."""
    before, after = RELEASED["window"]
    values = []
    for row, position in zip(logits, gold.tolist(), strict=True):
        ranked = torch.softmax(row, dim=-1).topk(RELEASED["k"]).indices.tolist()
        window = range(position - before, position + after + 1)
        hits = [rank for rank, index in enumerate(ranked, start=1) if index in window]
        values.append(1 / hits[0] if hits else 0.0)
    return sum(values) / len(values)


class Bench:
    """A warm engine, its steps and a teacher."""

    def __init__(self, features: QAFeatures, folder: Path, *, precision: str = "float32", dropout: float = 0.1) -> None:
        self.context = WorkerContext.open(Store(folder), folder, alone=True, threads=torch.get_num_threads())
        self.features = features
        self.batching = Batching(tokens_per_step=6144, micro_batch_tokens=6144)
        options = EngineOptions(0, "none", precision, 5e-5, 0.0, 1e-8, 1.0)
        student, teacher = new_model(dropout=dropout), new_model()
        for model in (student, teacher):
            use_cpu_kernels(model)
        self.student, self.teacher = Engine(student, options), Engine(teacher, options, frozen=True)
        self.config = QaDistillation(coefficient="map_at_k")
        self.steps = order_epoch(features.lengths, self.batching, seed=1, epoch=0)

    def signals(self) -> StoredTeacher:
        """One teacher pass in large batches, as `passes` makes it, and the coefficients of all windows."""
        flat = {name: torch.zeros(len(self.features.tokens)) for name in QA.learning.outputs}
        order = np.argsort(self.features.lengths)
        with torch.no_grad():
            for first in range(0, len(order), 48):
                indices = order[first : first + 48]
                outputs = self.teacher(**model_inputs(self.features.collate(indices)))
                for name, values in QA.learning.signals(outputs).items():
                    for row, index in enumerate(indices):
                        begin, end = self.features.bounds[index : index + 2]
                        flat[name][begin:end] = values[row, : end - begin]
        return StoredTeacher(self.features, flat, self.config, device=torch.device("cpu"))

    def epoch(self, teacher: StoredTeacher | None, steps: Any = None) -> float:
        """Seconds of an epoch, or of some of its steps."""
        terms = loss_terms(QA, self.config, padding=False)
        return train_epoch(
            self.student,
            EpochData(self.steps if steps is None else steps, self.features, self.features.lengths),
            loss=WeightedLoss(terms, teacher, kd_weight=1.0 if teacher is not None else 0.0),
            batching=self.batching,
            timeline=Timeline(
                first_step=0, total_steps=len(self.steps), schedule_start=0, schedule_steps=len(self.steps)
            ),
            seed=1,
        ).seconds


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    value = function()
    return time.perf_counter() - started, value


LADDER = {
    "like lengths, stored signals": {"precision": "float32", "dropout": 0.1},
    "and bf16": {"precision": "bf16", "dropout": 0.1},
    "and no dropout": {"precision": "bf16", "dropout": 0.0},
}
"""From the released procedure to what the CPU sweeps can do, one change after another."""


@functools.cache
def warm_bench(rung: str, folder: Path) -> Bench:
    """The bench of a rung in a process of its own, its first step behind it."""
    torch.set_num_threads(2)
    bench = Bench(read_features(), folder, **LADDER[rung])
    bench.epoch(None, bench.steps[:1])
    return bench


def ladder_epoch(rung: str, folder: Path) -> tuple[float, float]:
    """Seconds of the teacher's pass and of an epoch from its signals."""
    bench = warm_bench(rung, folder)
    passing, teacher = timed(bench.signals)
    return passing, bench.epoch(teacher)


def released_seconds() -> float:
    """Seconds of the released procedure in a process of its own."""
    torch.set_num_threads(2)
    return released_epoch(read_features())


@pytest.fixture
def processes(monkeypatch) -> Iterator[tuple[ProcessPoolExecutor, ProcessPoolExecutor]]:
    """A process as anybody starts it, and one with the environment of raykd's workers."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as plain, ProcessPoolExecutor(1, mp_context=spawn) as worker:
        plain.submit(os.getpid).result()
        for name, value in WORKER_ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        worker.submit(os.getpid).result()
        yield plain, worker


def test_an_epoch_of_distillation_against_the_released_procedure(processes, tmp_path):
    plain, worker = processes
    num_windows = len(read_features())
    ratios: dict[str, list[float]] = {rung: [] for rung in LADDER}
    with_pass: dict[str, list[float]] = {rung: [] for rung in LADDER}
    for turn in range(4):
        released = plain.submit(released_seconds).result()
        print(f"\nreleased procedure: {num_windows / released:.1f} examples/s", end="")
        for rung in LADDER:
            passing, stored = worker.submit(ladder_epoch, rung, tmp_path).result()
            if turn:  # the first one warms up
                ratios[rung].append(released / stored)
                with_pass[rung].append(released / (stored + passing))
            print(f"; {rung}: {num_windows / stored:.1f}", end="")
    print()
    for rung in LADDER:
        alone, both = statistics.median(ratios[rung]), statistics.median(with_pass[rung])
        print(f"{rung}: {alone:.2f} times the released procedure, {both:.2f} with the teacher's pass counted")
    assert statistics.median(ratios["and bf16"]) >= 3.5
    # Like against like: dropout and precision of the released procedure.
    assert statistics.median(ratios["like lengths, stored signals"]) >= 3.5


def test_a_step_with_stored_signals_against_a_step_of_fine_tuning(features, tmp_path):
    bench = Bench(features, tmp_path)
    teacher = bench.signals()
    bench.epoch(teacher, bench.steps[:2])
    ratios = []
    for turn in range(8):
        step = [bench.steps[turn % len(bench.steps)]] * 2
        plain, distilled = bench.epoch(None, step), bench.epoch(teacher, step)
        ratios.append(distilled / plain)
    print(f"\na step with stored signals against plain fine-tuning: {statistics.median(ratios):.3f} times")
    assert statistics.median(ratios) <= 1.10


def test_points_inline_and_in_worker_groups_and_warm_hand_offs_against_cold_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    keys = sweep(
        seeds=[1, 2, 3],
        methods={"inline": {}, "train": {"compute": {"num_workers": 2, "zero_stage": 2}}},
        data={"budget": 16},
        selection={"epoch_max_items": 0},
        lineage={"num_generations": 3},
        search={"max_concurrent": 1},
    )
    Path("sweep.yaml").write_text(yaml.safe_dump(keys))
    assert main(["sweep", "sweep.yaml"]) == 0
    ray.shutdown()
    capsys.readouterr()
    overheads, starts, hand_offs = start_up_costs(Journal.at(Path("runs/tiny")))
    with capsys.disabled():
        for executor in ("inline", "train"):
            print(f"\nstart-up of a further point, {executor}: {statistics.median(overheads[executor]):.2f} s", end="")
        warm, cold = statistics.median(hand_offs["train"]), statistics.median(starts["train"])
        print(f"\nhand-off in a warm worker group: {warm:.2f} s, start and end of a group: {cold:.2f} s", end="")
        print(f", ratio {cold / warm:.1f}")
    assert statistics.median(overheads["inline"]) < statistics.median(overheads["train"])
    assert warm < cold


def start_up_costs(journal: Journal) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, list[float]]]:
    """Seconds by executor: of a further point beyond its training, around its run, and between generations."""
    overheads: dict[str, list[float]] = {"inline": [], "train": []}
    starts: dict[str, list[float]] = {"inline": [], "train": []}
    hand_offs: dict[str, list[float]] = {"inline": [], "train": []}
    for executor, further in overheads.items():
        points = [point for point in journal.points.ids() if journal.points.description(point).method == executor]
        points.sort(key=lambda point: journal.points.state(point).started)
        for before, point in zip([None, *points], points, strict=False):
            state, epochs = journal.points.state(point), list(journal.epochs.of(point))
            trained = sum(epoch.train_seconds for epoch in epochs)
            running = journal.points.result(point).seconds
            if before is not None:
                further.append(state.ended - journal.points.state(before).ended - trained)
            starts[executor].append(state.ended - state.started - running)
            for one, following in itertools.pairwise(epochs):
                gap = following.elapsed_seconds - one.elapsed_seconds - following.train_seconds
                hand_offs[executor].append(gap)
    return overheads, starts, hand_offs
