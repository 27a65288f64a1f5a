"""What docs/extending.md says: a task in one file of under 150 lines, which goes from `init` to `predict`."""

import json
import random
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from support.inline_sweep import run_inline
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from raykd.cli import main
from raykd.config.digest import digest
from raykd.config.point import PointBase
from raykd.data.budgets import select
from raykd.models.tiny import tiny_config
from raykd.objectives.kd import forward_kl
from raykd.plan.file import load_sweep
from raykd.tasks import TASKS
from raykd.tasks.form import cut
from raykd.tasks.info import Info, Words
from raykd.tasks.outcomes import Scored, Scores, record_outcomes
from raykd.tasks.plain import PlainForm, PlainLearning, PlainModel
from raykd.tasks.predictor import Said, TaskPredictor
from raykd.tasks.readers import PlainReader
from raykd.tasks.sizes import Content, Items
from raykd.tasks.task import Task

STARTER = """name: NAME
task: toy
seeds: [1, 2]
data: {train: {builtin: small-world, num_items: 48}, languages: [en], max_length: 16}
selection: {source: {builtin: small-world, num_items: 24}, languages: [en]}
lineage: {num_generations: 2, student_init: base}
methods: {ce: {distillation: {kd_weight: 0}}, kd: {}}
training: {learning_rate: 3e-3, tokens_per_step: 128}
search: {space: {data.budget: [16, all]}}
"""


class ToyPoint(PointBase):
    task: Literal["toy"] = "toy"


@dataclass(frozen=True)
class Texts:
    """Sentences that name a river, or do not: features, training set and scored set in one."""

    ids: tuple[str, ...]
    rows: list[list[int]]
    labels: np.ndarray

    features, description = property(lambda self: self), property(lambda self: {})
    lengths = property(lambda self: np.array(list(map(len, self.rows))))
    signal_lengths = property(lambda self: np.ones(len(self.rows), dtype=np.int64))
    sha256 = property(lambda self: digest([self.ids, self.rows]))

    __len__ = lambda self: len(self.ids)  # noqa: E731

    def take(self, indices):
        return Texts(tuple(self.ids[i] for i in indices), [self.rows[i] for i in indices], self.labels[indices])

    def collate(self, indices, *, pad_to=None):
        width = pad_to or max(len(self.rows[i]) for i in indices)
        ids = torch.tensor([self.rows[i] + [0] * (width - len(self.rows[i])) for i in indices])
        return {"input_ids": ids, "attention_mask": (ids > 0).long(), "gold": torch.from_numpy(self.labels[indices])}


def texts(items: dict[str, str], tokenizer) -> Texts:
    rows = tokenizer(list(items.values()))["input_ids"]
    return Texts(tuple(items), rows, np.array([int("river" in text) for text in items.values()]))


def drawn(split: str, count: int) -> dict[str, str]:
    words = random.Random(split)
    return {f"{split}-{n}": " ".join(words.choices(["old", "city", "born", "river"], k=5)) for n in range(count)}


class ToyReader(PlainReader):
    signal_bytes = staticmethod(lambda config, texts, tokens, width: 2 * 4)
    content = staticmethod(lambda config, scored, items, folder: Content(24, digest(drawn("dev", 24))))
    scored_set = staticmethod(lambda config, scored, tokenizer, places: texts(drawn("dev", 24), tokenizer))

    chosen = staticmethod(lambda config, items: sorted(select(items, config.data.budget, seed=config.data_seed).ids))
    draw = staticmethod(lambda config, items: ToyReader.chosen(config, items) and None)

    def items(self, config, *, folder):
        found = drawn("train", config.data.train.num_items)
        return Items(found, len(found), digest(found))

    def train_set(self, config, tokenizer, *, items, places):
        return texts({name: items[name] for name in self.chosen(config, items)}, tokenizer)


class ToyModel(PlainModel):
    load = staticmethod(lambda folder, dropout=None: AutoModelForSequenceClassification.from_pretrained(folder))
    tiny = staticmethod(lambda config, tokens, items, seed: BertForSequenceClassification(tiny_config(tokens, width=8)))


class ToyLearning(PlainLearning):
    outputs = ("logits",)

    def terms(self, outputs, batch, said, config, *, padding):
        kd = None if said is None else forward_kl(outputs.logits, said, temperature=2.0)
        return cross_entropy(outputs.logits, batch["gold"], reduction="none"), kd

    def score(self, predictions, scored, section):
        hits = [100.0 * (label == scored.labels[row]) for row, label in sorted(predictions)]
        texts, mean = {"en": (scored.ids, hits)}, {"accuracy": float(np.mean(hits))}
        outcomes = record_outcomes(texts, statistic="mean", unit="text", scores={"accuracy": ["en"]})
        named = {"main": "accuracy", "metric": "accuracy", "columns": {"accuracy": "%"}}
        return Scored(Scores(**named, values=mean, cells={"en": mean}), outcomes)


class ToyForm(PlainForm):
    outputs, auto_class = ("logits",), AutoModelForSequenceClassification
    batches = staticmethod(lambda tokenizer, model, config: cut(texts(drawn("dev", 6), tokenizer)))


class ToyPredictor(TaskPredictor):
    does = "finds rivers"

    def of_file(self, path, *, n_best):
        features = texts(dict(enumerate(path.read_text().splitlines())), self._tokenizer)
        for indices, _, outputs in self._outputs(features):
            for row, label in zip(indices.tolist(), outputs.logits.argmax(dim=-1).tolist(), strict=True):
                yield Said({"line": row, "river": bool(label)}, (((f"{row} {bool(label)}", ""),),))


WORDS = Words("Finds rivers", "the toy method", "texts", "texts", "text-classification", lambda c: "KL", lambda c: ())
PARTS = {"load_model": ToyModel, "load_learning": ToyLearning, "load_form": ToyForm, "load_predictor": ToyPredictor}
TOY = Task(info=Info("toy", "rivers", lambda: STARTER, WORDS), point=ToyPoint, data=ToyReader(), **PARTS)


def test_a_task_in_one_file_goes_the_whole_way(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(TASKS, "toy", TOY)
    monkeypatch.chdir(tmp_path)
    assert main(["init", "toy"]) == main(["plan", "toy.yaml"]) == 0
    capsys.readouterr()
    run_inline(load_sweep(tmp_path / "toy.yaml").to_json(), tmp_path / "runs/toy")
    assert main(["leaderboard", "runs/toy", "--json"]) == 0
    assert {row["method"] for row in json.loads(capsys.readouterr().out)["rows"]} == {"ce", "kd", "generation 0"}
    assert main(["report", "runs/toy"]) == main(["export", "runs/toy", "home"]) == 0
    (tmp_path / "texts.txt").write_text("old river city\nold city\n")
    capsys.readouterr()
    assert main(["predict", "home", "texts.txt", "--json"]) == 0
    assert sorted(row["line"] for row in json.loads(capsys.readouterr().out)) == [0, 1]
