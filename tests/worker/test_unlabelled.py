"""Items without labels: what a step holds, what is read of them, and that their labels can have no say."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.inline_sweep import run_inline
from support.points import epochs, killed_after, losses, opened, ready, run, sharing, weights
from support.tiny_sweeps import point, tag_point, tag_sweep
from support.written_data import tagged_sentences, write_questions, write_tagged

from raykd.config.identity import Identity
from raykd.config.training import Batching
from raykd.data.batching import draw_unlabelled, order_epoch
from raykd.errors import DataError
from raykd.plan.file import sweep_of
from raykd.plan.inspection import check_data
from raykd.plan.points import make_plan
from raykd.report.analysis import analyse
from raykd.report.leaderboard import leaderboard
from raykd.results.records import read_records
from raykd.tasks import task_of
from raykd.tasks.qa import data as qa_data
from raykd.tasks.tagging import data as tagging_data
from raykd.worker.epochs import EpochPlan
from raykd.worker.job import PointJob
from raykd.worker.passes import signal_store

REST = {"source": "rest"}
TYPES = ["LOC", "PER", "RIVER"]
NO_SOURCE = {"builtin": None, "num_items": None}


def tag_rest(**changes: Any) -> Identity:
    """Two languages with labels and Chinese without; one teacher of the budget alone."""
    data = {"unlabelled": {"source": "rest", "languages": ["en", "es", "zh"]}, "budget": 6}
    base = {"train": {"source": "budget", "teachers": "one", "epochs": 1}}
    return tag_point(**{"data": data, "base": base, **changes})


def qa_rest(**changes: Any) -> Identity:
    return point(**{"data": {"unlabelled": REST}, "base": {"train": {"source": "budget"}}, **changes})


def read_by(wanted: Identity, root: Path) -> tuple[Any, EpochPlan]:
    context = opened(root)
    ready(context, wanted)
    return context, EpochPlan(context, PointJob(wanted))


# Steps ------------------------------------------------------------------------------------------------------------


def test_every_step_has_its_share_of_labelled_features():
    lengths = np.random.default_rng(0).integers(5, 60, 400)
    batching = Batching(tokens_per_step=512)
    steps = order_epoch(lengths, batching, seed=1, epoch=0, num_labelled=100)
    assert sorted(np.concatenate(steps).tolist()) == list(range(400))
    for step in steps:
        assert abs((step < 100).sum() - len(step) / 4) <= 1
        assert len(step) * lengths[step].max() <= 512 or len(step) == 1


def test_all_unlabelled_features_are_read_once_before_one_comes_again():
    drawn = [draw_unlabelled(10, per_epoch=4, seed=3, epoch=epoch) for epoch in range(5)]
    assert sorted(np.concatenate(drawn).tolist()) == sorted(list(range(10)) * 2)
    assert [part.tolist() for part in drawn] != [
        draw_unlabelled(10, per_epoch=4, seed=4, epoch=epoch).tolist() for epoch in range(5)
    ]
    assert len(draw_unlabelled(3, per_epoch=3, seed=0, epoch=7)) == 3


@pytest.mark.parametrize("wanted", [tag_rest(), qa_rest()], ids=["tagging", "qa"])
def test_labelled_and_unlabelled_items_never_overlap_and_languages_without_labels_are_trained_on(tmp_path, wanted):
    _, plan = read_by(wanted, tmp_path)
    features, first = plan.train.features, plan.num_labelled
    items = [
        {name.split("#")[0].split("_")[0] for name in part} for part in (features.ids[:first], features.ids[first:])
    ]
    assert items[0] and items[1] and not items[0] & items[1]
    assert all(np.concatenate(steps).max() >= first for steps in plan.steps)
    for steps in plan.steps:
        read = np.concatenate(steps)
        assert (read < first).sum() == first
        assert (read >= first).sum() == min(3 * first, len(features) - first)
    if wanted.config.task == "tagging":
        assert plan.train.description["unlabelled"] == {"en": 18, "es": 18, "zh": 24}
        assert wanted.config.trained_languages == ("en", "es", "zh")


def test_the_label_term_is_the_mean_over_labelled_features_and_the_kd_term_that_over_all(tmp_path):
    one_step = {"training": {"tokens_per_step": None, "examples_per_step": 1000, "dropout": 0.0}}
    with_rest = tag_rest(**one_step, lineage={"num_generations": 1})
    alone = tag_point(
        **one_step,
        lineage={"num_generations": 1},
        data={"budget": 6},
        base={"train": {"source": "budget", "teachers": "one", "epochs": 1}},
    )
    context = opened(tmp_path)
    ready(context, with_rest, alone)
    for each in (with_rest, alone):
        run(context, each)
    torch.testing.assert_close(losses(context, with_rest)[0, 1], losses(context, alone)[0, 1], rtol=1e-5, atol=0)


# Labels cannot leak ------------------------------------------------------------------------------------------------


def labelled_ids(wanted: Identity, folder: Path) -> set[str]:
    """The items of the budget."""
    config = wanted.config
    items = task_of(config).data.items(config, folder=folder).all
    if config.task == "qa":
        return {*qa_data.load_train(config.data, items, seed=config.data_seed).budget.ids}
    return {each.id for each in tagging_data.load_train(config.data, seed=config.data_seed, items=items)[0]}


def bits_of(wanted: Identity, folder: Path) -> dict[str, torch.Tensor]:
    """The weights that a point delivers, and its losses."""
    context = opened(folder / "runs", folder=folder)
    ready(context, wanted)
    result = run(context, wanted)
    return {**weights(context, result.artifact), "losses": losses(context, wanted)}


@pytest.mark.parametrize("targets", ["soft", "pseudo"])
def test_poisoned_tags_of_unlabelled_sentences_change_no_bit(tmp_path, targets):
    found = []
    for name in ("clean", "poisoned"):
        folder = tmp_path / name
        folder.mkdir()
        sentences = tagged_sentences(["en", "es", "zh"], 24)
        section = {"source": "rest", "languages": ["en", "es", "zh"], "targets": targets}
        wanted = tag_rest(
            data={"train": {"path": "{language}.tsv", **NO_SOURCE}, "budget": 6, "unlabelled": section},
            head={"labels": TYPES},
        )
        write_tagged(folder, sentences)
        if name == "poisoned":
            kept = labelled_ids(wanted, folder)
            rng = random.Random(0)
            poisoned = {
                language: [each if each.id in kept else shuffled(each, rng) for each in members]
                for language, members in sentences.items()
            }
            assert poisoned != sentences
            write_tagged(folder, poisoned)
        found.append(bits_of(wanted, folder))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def shuffled(sentence: Any, rng: random.Random) -> Any:
    """The sentence with chunks where there are none, of types that are there."""
    return replace(sentence, tags=tuple(rng.choice(["O", *(f"B-{kind}" for kind in TYPES)]) for _ in sentence.tags))


@pytest.mark.parametrize("coefficient", ["constant", "reciprocal_rank"])
def test_poisoned_answers_of_unlabelled_questions_change_no_bit(tmp_path, coefficient):
    found = []
    for name in ("clean", "poisoned"):
        folder = tmp_path / name
        folder.mkdir()
        wanted = qa_rest(
            data={"train": {"path": "{language}.json", **NO_SOURCE}, "unlabelled": REST},
            distillation={"coefficient": coefficient},
        )
        write_questions(folder, ["en", "es", "zh"], 32)
        if name == "poisoned":
            kept = labelled_ids(wanted, folder)
            every = task_of(wanted.config).data.items(wanted.config, folder=folder).all.labelled
            write_questions(folder, ["en", "es", "zh"], 32, wrong=[each for each in every if each not in kept])
        found.append(bits_of(wanted, folder))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


# The whole way -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [tag_rest(), qa_rest()], ids=["tagging", "qa"])
def test_a_killed_point_goes_on_over_unlabelled_items_and_ends_with_the_same_bits(tmp_path, wanted):
    context = opened(tmp_path / "one")
    ready(context, wanted)
    (tmp_path / "two").mkdir()
    other = sharing(context.store.root, tmp_path / "two")
    result = run(context, wanted)
    killed_after(other, wanted, 1)
    again = run(other, wanted)
    assert again.artifact == result.artifact
    first, second = weights(context, result.artifact), weights(other, result.artifact)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_points_of_other_budgets_share_the_signals_of_a_given_teacher(tmp_path):
    small, large = (
        tag_point(
            base={"train": {"teachers": "one"}},
            data={"budget": budget, "unlabelled": REST},
        )
        for budget in (6, 12)
    )
    context = opened(tmp_path)
    ready(context, small, large)
    stores = {signal_store(context, name, each).folder for each in (small, large) for name in each.first_teachers}
    assert len(stores) == 1
    parts = context.store.children(next(iter(stores)))
    assert len([name for name in parts if name.endswith(".json")]) == 1, "the second point asked for nothing more"


def test_pseudo_labels_are_counted_by_language(tmp_path):
    section = {"source": "rest", "languages": ["en", "es", "zh"], "targets": "pseudo", "min_confidence": 0.0}
    wanted = tag_rest(data={"unlabelled": section, "budget": 6}, lineage={"num_generations": 1})
    context = opened(tmp_path)
    ready(context, wanted)
    run(context, wanted)
    (epoch,) = epochs(context, wanted)
    assert {name: value for name, value in epoch.watched.items()} == {
        "pseudo_en": 100.0,
        "pseudo_es": 100.0,
        "pseudo_zh": 100.0,
    }


def test_of_pseudo_labels_that_nobody_is_sure_of_nothing_comes(tmp_path):
    """What remains is the KD term of the labelled sentences, so it is that of a point without any others."""
    section = {"source": "rest", "targets": "pseudo", "min_confidence": 1.0}
    one_step = {"training": {"tokens_per_step": None, "examples_per_step": 1000, "dropout": 0.0}}
    lineage = {"num_generations": 1}
    unsure = tag_rest(data={"unlabelled": section, "budget": 6}, lineage=lineage, **one_step)
    alone = tag_rest(data={"unlabelled": None, "budget": 6}, lineage=lineage, **one_step)
    context = opened(tmp_path)
    ready(context, unsure, alone)
    for each in (unsure, alone):
        run(context, each)
    # The mean is over all sentences of the step: 12 with labels and 36 without.
    torch.testing.assert_close(losses(context, unsure)[0, 2] * 4, losses(context, alone)[0, 2], rtol=1e-4, atol=1e-6)


def test_a_rest_of_nothing_is_refused(tmp_path):
    for wanted in (
        tag_rest(data={"unlabelled": REST, "budget": "all"}),
        qa_rest(data={"unlabelled": REST, "budget": 32}),
    ):
        with pytest.raises(DataError, match=r"data.unlabelled: no (sentence|item) is left"):
            task = task_of(wanted.config)
            task.data.draw(wanted.config, task.data.items(wanted.config, folder=tmp_path).all)


def test_plain_text_is_read_as_sentences_of_words_between_spaces(tmp_path):
    for language, lines in {"en": "Ada was born .\nBo wrote a book .\n", "es": "Ada nació .\n"}.items():
        (tmp_path / f"{language}.txt").write_text(lines, encoding="utf-8")
    wanted = tag_rest(data={"unlabelled": {"source": {"path": "{language}.txt"}}, "budget": 6})
    task = task_of(wanted.config)
    items = task.data.items(wanted.config, folder=tmp_path).all
    assert {name: [each.words for each in members] for name, members in items.unlabelled.items()} == {
        "en": [("Ada", "was", "born", "."), ("Bo", "wrote", "a", "book", ".")],
        "es": [("Ada", "nació", ".")],
    }
    assert task.data.draw(wanted.config, items) == {"en": 2, "es": 1}


def test_a_test_set_must_not_share_items_with_unlabelled_ones(tmp_path):
    write_tagged(tmp_path, tagged_sentences(["en", "es"], 24))
    source = {"path": "{language}.tsv", **NO_SOURCE}
    wanted = tag_sweep(
        data={"unlabelled": {"source": source}},
        base={"train": {"teachers": "one"}},
        tests={"proof": {"source": source, "languages": ["en"]}},
    )
    with pytest.raises(DataError, match=r"tests.proof: 24 of its 24 items are in data.train too"):
        check_data(make_plan(sweep_of(wanted)), folder=tmp_path)


# The teacher ------------------------------------------------------------------------------------------------------


def test_a_teacher_of_the_budget_sees_its_sentences_and_no_more(tmp_path):
    context = opened(tmp_path)
    points = [tag_rest(seed=seed) for seed in (1, 2)]
    ready(context, *points)
    assert len({name for each in points for name in each.first_teachers}) == 2
    for each in points:
        (name,) = each.first_teachers
        alone = tag_point(data={"budget": 6}, seed=each.config.seed)
        assert context.store.record(name).data == context.train_set(alone).sha256


def test_an_ensemble_has_members_of_other_seeds_and_its_first_one_is_generation_0(tmp_path):
    context = opened(tmp_path)
    wanted = tag_rest(base={"train": {"source": "budget", "teachers": "one", "ensemble": 2}})
    single = tag_rest()
    assert [*wanted.generation_zero] == [*wanted.first_teachers][:1] == [*single.first_teachers]
    ready(context, wanted)
    first, second = (weights(context, name) for name in wanted.first_teachers)
    assert any(not torch.equal(value, second[name]) for name, value in first.items())
    run(context, wanted)
    assert all(len(epoch.teachers) == 2 for epoch in epochs(context, wanted)[:1])


def test_generation_0_of_each_seed_is_a_model_of_its_own_and_the_leaderboard_has_their_mean(tmp_path):
    keys = tag_sweep(
        seeds=[1, 2],
        data={"budget": 18},
        base={"train": {"source": "budget", "teachers": "one", "epochs": 12, "learning_rate": 1e-2}},
        lineage={"num_generations": 1},
        tests={"proof": {"source": {"builtin": "small-world", "num_items": 8, "share": [0.5, 1]}, "languages": ["en"]}},
        selection={"source": {"share": [0, 0.5]}},
    )
    run_inline(keys, tmp_path)
    records = read_records(tmp_path)
    assert len({base.base for base in records.bases}) == len(records.bases) == len(records.base_tests) == 2
    assert {point.description.base for point in records.points} == {base.base for base in records.bases}
    (row,) = [row for row in leaderboard(tmp_path).rows if row.method == "generation 0"]
    assert row.num_seeds == 2
    assert row.mean["f1"] == pytest.approx(np.mean([base.final.values["f1"] for base in records.bases]))
    assert row.tests["proof"][0] == pytest.approx(np.mean([each.scores.main_value for each in records.base_tests]))
    chosen = analyse(records)
    before = {base.base: base.final.main_value for base in records.bases}
    assert len({*before.values()}) == 2, "the seeds have other teachers"
    assert chosen.before(chosen.configurations[0], before) == pytest.approx(np.mean([*before.values()]))


def test_a_source_of_its_own_is_trained_on_beside_labelled_sentences_of_the_same_numbers(tmp_path):
    for language in ("en", "es"):
        (tmp_path / f"{language}.txt").write_text("Ada was born .\nBo wrote a book .\n" * 20, encoding="utf-8")
    write_tagged(tmp_path, tagged_sentences(["en", "es"], 24))
    wanted = tag_rest(
        data={
            "train": {"path": "{language}.tsv", **NO_SOURCE},
            "unlabelled": {"source": {"path": "{language}.txt"}},
            "budget": 6,
        },
        lineage={"num_generations": 1},
    )
    context = opened(tmp_path / "runs", folder=tmp_path)
    ready(context, wanted)
    assert run(context, wanted).data["unlabelled"] == {"en": 40, "es": 40}


def test_the_rest_of_a_training_file_called_txt_is_read_without_its_tags(tmp_path):
    write_tagged(tmp_path, tagged_sentences(["en", "es", "zh"], 24))
    for language in ("en", "es", "zh"):
        (tmp_path / f"{language}.tsv").rename(tmp_path / f"{language}.txt")
    wanted = tag_rest(
        data={
            "train": {"path": "{language}.txt", **NO_SOURCE},
            "unlabelled": {"source": "rest", "languages": ["en", "zh"]},
            "budget": 6,
        }
    )
    items = task_of(wanted.config).data.items(wanted.config, folder=tmp_path).all
    expected = [each.words for each in tagged_sentences(["zh"], 24)["zh"]]
    assert [each.words for each in items.unlabelled["zh"]] == expected


def test_a_ratio_that_is_almost_nothing_still_keeps_labels_of_the_others_out(tmp_path):
    _, plan = read_by(tag_rest(data={"unlabelled": REST, "budget": 1, "unlabelled_per_labelled": 0.1}), tmp_path)
    assert plan.num_unlabelled == 1
    assert all(len(np.concatenate(steps)) == plan.num_labelled + 1 for steps in plan.steps)
    assert (plan.data(0).label_scale[plan.num_labelled :] == 0).all()


def test_labels_of_the_budget_are_hashed_for_each_budget_and_seed(tmp_path):
    keys = tag_sweep(
        seeds=[1, 2],
        base={"train": {"source": "budget", "teachers": "one"}},
        search={"space": {"data.budget": [4, 8]}},
    )
    hashes = check_data(make_plan(sweep_of(keys)), folder=tmp_path)
    labels = {name: value for name, value in hashes.items() if name.startswith("base.train")}
    assert len(labels) == len({*labels.values()}) == 4
    keys["search"]["space"]["data.budget"] = [8, 4]
    again = check_data(make_plan(sweep_of(keys)), folder=tmp_path)
    assert {name: again[name] for name in labels} == labels
