"""What distilling a structure costs beside a plain CRF step, as ratios of two ways measured in one run.

The student is a 4 x 256 BERT with random weights, fine-tuned, or frozen under a BiLSTM as in arXiv:2004.03846. With
RAYKD_DATA set, the sentences are WikiAnn's in mBERT's pieces; without it, those of the built-in world.
"""

import os
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from raykd.config.training import Batching
from raykd.data import smallworld_tags
from raykd.data.batching import order_epoch
from raykd.data.conll import read_languages
from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.data.sources import SourceRef
from raykd.data.tag_format import TagFormat
from raykd.data.tags import label_set, types_of
from raykd.models.cpu import use_cpu_kernels
from raykd.models.qa import load_tokenizer
from raykd.models.tagging import TagHead, TagModel
from raykd.results.artifacts import Store
from raykd.tasks.tagging import TAGGING
from raykd.tasks.tagging.config import TaggingDistillation
from raykd.tasks.tagging.features import TagFeatures
from raykd.tasks.tagging.frozen import FrozenEncoder, ReadFeatures
from raykd.tasks.tagging.teachers import StoredTeacher
from raykd.tasks.tagging.windows import build_tag_features
from raykd.tasks.teaching import Reading
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine, EngineOptions
from raykd.worker.loop import Collatable, EpochData, Timeline, WeightedLoss, train_epoch
from raykd.worker.passes import frozen_rows
from raykd.worker.training import loss_terms

pytestmark = pytest.mark.benchmark

LANGUAGES = ("de", "en", "es")
NUM_SENTENCES = 200
BATCHING = Batching(tokens_per_step=2000)
OBJECTIVES = {
    "posterior": (TaggingDistillation(objective="posterior", temperature=4), 1.35),
    "top_wk, k = 10": (TaggingDistillation(objective="top_wk", k=10), 1.5),
    "posterior_top_wk, k = 10": (TaggingDistillation(objective="posterior_top_wk", k=10, temperature=4), None),
    "exact": (TaggingDistillation(objective="exact", temperature=1), None),
}
"""The released code took 1.45 times for the posterior and 1.63 for Top-WK (Table 8)."""


def read_features(folder: Path) -> TagFeatures:
    data = os.environ.get("RAYKD_DATA")
    if data:
        reference = SourceRef(path="panx/train-{language}.tsv")
        read = read_languages(reference, languages=LANGUAGES, folder=Path(data), tag_format=TagFormat(target="bioes"))
        sentences = [sentence for found in read.values() for sentence in found.sentences[:NUM_SENTENCES]]
        tokenizer = BertTokenizer(vocab=f"{data}/tokenizers/mbert-cased/vocab.txt", do_lower_case=False)
    else:
        found = smallworld_tags.sentences("train", NUM_SENTENCES, languages=LANGUAGES)
        sentences = [sentence for members in found.values() for sentence in members]
        build_tokenizer(folder)
        tokenizer = load_tokenizer(str(folder))
    labels = label_set(types_of((sentence.tags for sentence in sentences), "bioes"), "bioes")
    options = {"languages": LANGUAGES, "labels": labels, "scheme": "bioes", "max_length": 128}
    return build_tag_features(sentences, tokenizer, **options)


def random_readings(features: TagFeatures) -> list[Reading]:
    """What a teacher for each language might have said."""
    generator, readings, size = torch.Generator().manual_seed(0), [], len(features.labels)
    for language in features.languages:
        rows = features.of_language(language)
        words = int(features.word_counts[rows].sum())
        emissions = torch.randn(words, size, generator=generator).half()
        names = {"between": (size, size), "start": (size,), "end": (size,)}
        constants = {name: torch.randn(shape, generator=generator) for name, shape in names.items()}
        readings.append(Reading(rows, {"emissions": emissions}, constants))
    return readings


class Bench:
    """A warm engine and its steps."""

    def __init__(self, features: TagFeatures, folder: Path, head: TagHead, *, precision: str) -> None:
        WorkerContext.open(Store(folder), folder, alone=True, threads=2)
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=119_547,
            hidden_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=1024,
        )
        model = TagModel(BertModel(config, add_pooling_layer=False), head)
        model.get_input_embeddings().requires_grad_(False)
        use_cpu_kernels(model)
        self.engine = Engine(model, EngineOptions(0, "none", precision, 5e-5, 0.0, 1e-8, 1.0))
        self.features, self.readings = features, random_readings(features)
        self.steps = order_epoch(features.lengths, BATCHING, seed=1, epoch=0)

    def epoch(
        self, config: TaggingDistillation | None, *, labelled: float = 1.0, features: Collatable | None = None
    ) -> float:
        """Seconds of an epoch, with what a teacher's marginals or paths take, though a generation takes them once.

        Args:
            labelled: share of the windows that have labels.
            features: what is collated; None is the windows themselves.
        """
        teacher, started = None, time.perf_counter()
        scale, count = None, round(labelled * len(self.features))
        if labelled < 1:
            scale = np.where(np.arange(len(self.features)) < count, 1 / labelled, 0).astype(np.float32)
        if config is not None:
            teacher = StoredTeacher(self.features, self.readings, config, device=torch.device("cpu"))
        terms = loss_terms(TAGGING, config or TaggingDistillation(kd_weight=0), padding=False)
        train_epoch(
            self.engine,
            EpochData(self.steps, features or self.features, self.features.lengths, scale),
            loss=WeightedLoss(terms, teacher, kd_weight=1.0 if teacher else 0.0),
            batching=BATCHING,
            timeline=Timeline(
                first_step=0, total_steps=len(self.steps), schedule_start=0, schedule_steps=len(self.steps)
            ),
            seed=1,
        )
        return time.perf_counter() - started


@pytest.mark.parametrize("student", ["fine-tuned", "frozen under a BiLSTM"])
def test_a_distilled_step_against_a_plain_crf_step(student, tmp_path):
    features = read_features(tmp_path)
    frozen = student != "fine-tuned"
    head = TagHead(features.labels, lstm_size=256 if frozen else None, frozen_encoder=frozen)
    bench = Bench(features, tmp_path, head, precision="float32")
    bench.epoch(None)
    ratios: dict[str, list[float]] = {name: [] for name in OBJECTIVES}
    for _ in range(5):
        for name, (config, _) in OBJECTIVES.items():
            plain, distilled = bench.epoch(None), bench.epoch(config)
            ratios[name].append(distilled / plain)
    size = f"{len(features)} sentences of {np.mean(features.word_counts):.0f} words, {len(features.labels)} labels"
    print(f"\n{student}, {size}; times a plain CRF step:")
    for name, (_, most) in OBJECTIVES.items():
        print(f"  {name}: {statistics.median(ratios[name]):.3f}" + (f" (at most {most})" if most else ""))
    for name, (_, most) in OBJECTIVES.items():
        assert most is None or statistics.median(ratios[name]) <= most


def test_a_step_with_unlabelled_sentences_against_a_labelled_one_of_the_same_tokens(tmp_path):
    features = read_features(tmp_path)
    bench = Bench(features, tmp_path, TagHead(features.labels), precision="float32")
    config = OBJECTIVES["posterior"][0]
    bench.epoch(config)
    ratios = [bench.epoch(config, labelled=0.25) / bench.epoch(config) for _ in range(7)]
    print(f"\nthree of four sentences without labels: {statistics.median(ratios):.3f} times (at most 1.05)")
    assert statistics.median(ratios) <= 1.05


@pytest.mark.parametrize("kind", ["crf", "softmax"])
def test_an_epoch_over_a_frozen_encoder_that_has_read_once_against_one_that_reads_again(kind, tmp_path):
    features = read_features(tmp_path)
    head = TagHead(features.labels, kind=kind, lstm_size=256, frozen_encoder=True)
    bench = Bench(features, tmp_path, head, precision="float32")
    context = WorkerContext.open(Store(tmp_path), tmp_path, alone=True, threads=2)
    read = ReadFeatures(features, frozen_rows(context, FrozenEncoder(), bench.engine, features, tokens=16384))
    bench.epoch(None)
    ratios = [bench.epoch(None) / bench.epoch(None, features=read) for _ in range(5)]
    print(f"\n{kind} over a BiLSTM on a frozen encoder: {statistics.median(ratios):.2f} times (at least 1.6)")
    assert statistics.median(ratios) >= 1.6
