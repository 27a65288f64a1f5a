"""Points whose given model brings its masked-token head: from the folder over generations to what is delivered."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from support.points import epochs, killed_after, losses, opened, ready, reports, run, sharing, weights
from support.tiny_sweeps import pair_point
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModel, BertForMaskedLM

from raykd.config.identity import Identity
from raykd.config.keys import merged
from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.errors import DataError
from raykd.models.files import MASKED_HEAD
from raykd.models.qa import load_tokenizer
from raykd.models.tiny import tiny_config
from raykd.results.journal import Journal
from raykd.tasks import TASKS
from raykd.tasks.parallel.data import draw_epochs, load_items, load_train
from raykd.tasks.parallel.model import ParallelModel
from raykd.tasks.parallel.windows import build_pair_features

LABEL = 1
TLM_ALONE = {"distillation": {"kd_weight": 0}}


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A BERT of transformers that was trained to predict masked pieces of the built-in world, by torch alone."""
    folder = tmp_path_factory.mktemp("given")
    build_tokenizer(folder)
    tokenizer = load_tokenizer(str(folder))
    data = pair_point(data={"train": {"num_items": 384}, "budget": "all"}).config.data
    chosen, _ = load_train(data, seed=0, items=load_items(data, folder=folder))
    pairs, _ = draw_epochs(chosen, data.mixing, seed=0, num_epochs=1)
    features = build_pair_features(pairs, tokenizer, tokenizer, max_length=64).with_parts(frozenset({"tlm"}))
    torch.manual_seed(0)
    model = BertForMaskedLM(tiny_config(tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    order = np.random.default_rng(0)
    for step in range(100):
        batch = features.at(0, step).collate(np.sort(order.choice(len(features), 24, replace=False)))
        types = {"token_type_ids": batch["tlm_types"]} if "tlm_types" in batch else {}
        logits = model(input_ids=batch["tlm_ids"], attention_mask=batch["tlm_mask"], **types).logits
        loss = cross_entropy(logits[batch["tlm_rows"], batch["tlm_columns"]], batch["tlm_labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, given) -> Path:
    """A results folder with generation 0, the teacher, scores and signals."""
    root = tmp_path_factory.mktemp("prepared")
    assert f"generation 0 is ready ({given}, with its own masked-token head)" in ready(opened(root), point(given))
    return root


def point(given: Path, **changes: Any) -> Identity:
    """One that starts from a model folder; its teacher has the same encoder."""
    models = {"base": {"model": str(given)}, "teacher": {"model": str(given)}}
    return pair_point(**merged(models, changes))


def head(context, artifact: str) -> dict[str, Tensor]:
    return safetensors.torch.load_file(context.store.artifact(artifact) / MASKED_HEAD)


def differs(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return any(not torch.equal(one[name], other[name]) for name in one)


def heads_at_start(monkeypatch) -> list[dict[str, Tensor]]:
    """What each student has that is put into training, from here on."""
    found: list[dict[str, Tensor]] = []
    plain = ParallelModel.to_train

    def noted(self, model, config, *, teacher):
        found.append({name: each.clone() for name, each in model.masked_head.weights().items()})
        return plain(self, model, config, teacher=teacher)

    monkeypatch.setattr(ParallelModel, "to_train", noted)
    return found


def says(context, wanted: Identity) -> str | None:
    return Journal(context.store).points.result(wanted.id).data.get("masked_head")


def test_a_trained_head_starts_where_its_training_ended_and_a_drawn_one_as_if_nothing_was_learned(context, given):
    first = {}
    for kind in ("own", "new", None):
        changes = merged(TLM_ALONE, {"distillation": {"masked_head": kind}, "lineage": {"num_generations": 1}})
        wanted = point(given, **changes)
        ready(context, wanted)
        run(context, wanted)
        first[kind] = float(losses(context, wanted)[0, LABEL])
        assert says(context, wanted) == (kind or "own")
    assert first["own"] == first[None] < first["new"] - 2
    assert first["new"] > np.log(len(load_tokenizer(str(given)))) - 0.5


@pytest.mark.parametrize("student_init", ["previous", "teacher", "base"])
def test_training_changes_the_head_and_the_next_generation_goes_on_from_where_it_should(
    context, given, monkeypatch, student_init
):
    wanted = point(given, lineage={"student_init": student_init, "keep": "all"})
    began = heads_at_start(monkeypatch)
    result = run(context, wanted)
    base, first, second = (
        head(context, name) for name in (wanted.base, *(each.artifact for each in result.generations))
    )
    assert differs(base, first) and differs(first, second) and differs(base, second)
    assert not differs(began[0], base)
    if student_init == "previous":
        # It stays in memory.
        assert len(began) == 1
    else:
        assert not differs(began[1], first if student_init == "teacher" else base)
    folder = context.store.artifact(result.artifact)
    read, info = AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    embeddings = TASKS["parallel"].model.load(str(folder)).masked_head.model.cls.predictions.decoder.weight
    assert torch.equal(embeddings, read.embeddings.word_embeddings.weight)


def test_a_killed_point_goes_on_and_ends_with_the_same_head(context, given, tmp_path_factory):
    wanted = point(given, lineage={"epochs_per_generation": 2}, training={"dropout": 0.1})
    other = sharing(context.store.root, tmp_path_factory.mktemp("killed"))
    undisturbed = run(context, wanted)
    killed_after(other, wanted, 1)
    list(reports(other, wanted))
    again = Journal(other.store).points.result(wanted.id)
    assert not differs(head(context, undisturbed.artifact), head(other, again.artifact))


def test_every_zero_stage_trains_the_same_head(context, given):
    found = {}
    for stage in (0, 1, 2, 3):
        wanted = point(given, compute={"zero_stage": stage})
        result = run(context, wanted)
        found[stage] = losses(context, wanted), weights(context, result.artifact)
    for stage in (1, 2, 3):
        torch.testing.assert_close(found[stage][0], found[0][0], atol=1e-3, rtol=1e-3)
        assert found[stage][1].keys() == found[0][1].keys()
        for name, tensor in found[stage][1].items():
            torch.testing.assert_close(tensor, found[0][1][name], atol=2e-3, rtol=0, msg=name)


@pytest.mark.parametrize(
    ("changes", "said"), [({"masked_head": "new"}, "new"), ({"label_weight": 0}, None)], ids=["new", "no tlm"]
)
def test_a_head_that_is_not_trained_is_not_handed_on(context, given, changes, said):
    wanted = point(given, distillation=changes)
    result = run(context, wanted)
    assert says(context, wanted) == said and len(epochs(context, wanted)) == 2
    assert not (context.store.artifact(result.artifact) / MASKED_HEAD).exists()
    assert (context.store.artifact(wanted.base) / MASKED_HEAD).exists()


def test_a_later_sweep_starts_from_the_head_of_what_is_delivered(context, given, tmp_path_factory, monkeypatch):
    delivered = run(context, point(given)).artifact
    other = opened(tmp_path_factory.mktemp("later"))
    wanted = point(context.store.artifact(delivered), distillation={"masked_head": "own"})
    ready(other, wanted)
    began = heads_at_start(monkeypatch)
    next(reports(other, wanted))
    assert not differs(began[0], head(context, delivered))


def test_a_model_without_a_head_is_refused_where_its_own_is_asked_for(context, given, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    build_tokenizer(folder)
    AutoModel.from_pretrained(given, add_pooling_layer=False).save_pretrained(folder)
    wanted = point(folder, distillation={"masked_head": "own"})
    line = f"distillation.masked_head own: {folder} has no masked-token head; set it to new, or remove it"
    for refuse in (
        lambda: TASKS["parallel"].data.check_models([wanted.config], locate=str),
        lambda: (ready(context, wanted), run(context, wanted)),
    ):
        with pytest.raises(DataError) as caught:
            refuse()
        assert caught.value.problems == (line,)
    TASKS["parallel"].data.check_models([point(given, distillation={"masked_head": "own"}).config], locate=str)
