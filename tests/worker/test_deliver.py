"""The best epoch of a lineage is what it delivers: its bits, whenever it is killed, and with few models on disk."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from support.points import killed_after, opened, ready, reports, run, sharing, weights
from support.tiny_sweeps import point, tag_point

from raykd.config.identity import Identity
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.results.points import PointResult
from raykd.storage import Name
from raykd.worker.context import WorkerContext
from raykd.worker.prepare import prepare

CONSTANT = {"lr_schedule": "constant", "learning_rate": 2e-2}
"""Training that does not know how long it will be: the same epochs come first in a longer one."""


def wanted(seed: int = 2, **lineage) -> Identity:
    """A point of six epochs that learns so fast that it gets better and worse again."""
    return point(
        seed=seed,
        lineage={"num_generations": 2, "epochs_per_generation": 3, "deliver": "best", **lineage},
        selection={"source": {"num_items": 24}, "max_items": 6, "epoch_max_items": 6},
        training=CONSTANT,
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A results folder with generation 0, its scores and signals."""
    root = tmp_path_factory.mktemp("prepared")
    ready(opened(root), wanted())
    return root


@pytest.fixture(scope="module", params=["previous", "teacher"])
def undisturbed(request, prepared, tmp_path_factory) -> tuple[Identity, WorkerContext, PointResult]:
    """A point whose best epoch is neither its first nor its last one, where it ran to its end, and its result."""
    for seed in range(2, 8):
        chosen = wanted(seed, student_init=request.param)
        context = sharing(prepared, tmp_path_factory.mktemp("undisturbed"))
        result = run(context, chosen)
        # Which seed gives one depends on the processor's rounding.
        if 0 < scores(result).index(max(scores(result))) < 5:
            return chosen, context, result
    raise AssertionError("no seed has its best epoch in the middle")


def scores(result: PointResult) -> list[float]:
    return [score for generation in result.generations for score in generation.epoch_scores]


def test_the_middle_epoch_is_delivered_where_it_is_best(undisturbed):
    _, context, result = undisturbed
    found = scores(result)
    best = found.index(max(found))
    record = context.store.verify(result.artifact)
    generation, within = divmod(best, 3)
    assert record.generation == generation + 1
    assert record.epoch == (best + 1 if within < 2 else None)
    assert record.dev_score == max(found)
    assert result.scores.main_value == max(found)
    kept = [name for name, record in context.store.artifacts() if record.kind == "generation"]
    assert kept == [result.artifact]


def test_it_has_the_bits_of_a_lineage_that_ends_there(prepared, tmp_path):
    # Of one generation, so that a shorter one is the beginning of the longer one.
    longer, context = wanted(num_generations=1, epochs_per_generation=4), sharing(prepared, tmp_path / "longer")
    result = run(context, longer)
    found = scores(result)
    best = found.index(max(found)) + 1
    shorter = wanted(num_generations=1, epochs_per_generation=best, deliver="last")
    other = sharing(prepared, tmp_path / "shorter")
    again = run(other, shorter)
    ours, theirs = weights(context, result.artifact), weights(other, again.artifact)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


class Killed(Exception):
    """Stands for the end of a process."""


@dataclass(frozen=True)
class DyingStore(Store):
    """A store that takes so many changes and then none at all, and counts the models of the point after each."""

    left: list[int] = field(default_factory=list)
    most: list[int] = field(default_factory=lambda: [0])

    def _change(self, operation: str, name: Name, *arguments) -> None:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise Killed
        super()._change(operation, name, *arguments)
        models = sum(record.kind == "generation" for _, record in Store(self.root).artifacts())
        self.most[0] = max(self.most[0], models)


def test_killed_at_any_moment_it_delivers_the_same_bits_from_few_models(undisturbed, prepared, tmp_path):
    chosen, context, expected = undisturbed
    counted = DyingStore(tmp_path / "counted", left=[10**6])
    sharing(prepared, tmp_path / "counted")
    list(_reports(counted, chosen))
    total = 10**6 - counted.left[0]
    # The teacher and the best epoch; a third is there between the writing of a model and the removal of its forerunner.
    assert counted.most[0] <= 3
    theirs = weights(context, expected.artifact)
    for moment in range(3, total, max(total // 3, 1)):
        root = tmp_path / f"killed-{moment}"
        sharing(prepared, root)
        with pytest.raises(Killed):
            list(_reports(DyingStore(root, left=[moment]), chosen))
        again = opened(root)
        found = run(again, chosen)
        assert found.artifact == expected.artifact, moment
        assert found.scores == expected.scores, moment
        ours = weights(again, found.artifact)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs), moment


@pytest.mark.parametrize("student_init", ["previous", "base"])
def test_a_kill_after_any_epoch_costs_that_epoch_at_most(student_init, prepared, tmp_path):
    # Whichever epoch is best, and whichever models went because it was.
    chosen = wanted(student_init=student_init)
    # In the first generation, at its end, and in the second, which may have had a better epoch by then.
    for num_epochs in (2, 3, 4, 5):
        context = sharing(prepared, tmp_path / str(num_epochs))
        killed_after(context, chosen, num_epochs)
        assert [report.epoch for report in reports(context, chosen)] == list(range(num_epochs + 1, 7))


@pytest.mark.parametrize("teacher", ["best", "ensemble", "fixed"])
def test_what_teaches_is_not_removed_by_a_better_epoch(teacher, prepared, tmp_path):
    chosen, context = wanted(teacher=teacher, student_init="teacher"), sharing(prepared, tmp_path)
    killed_after(context, chosen, 5)
    assert [report.epoch for report in reports(context, chosen)] == [6]


def test_without_checkpoints_a_generation_begins_again_and_the_best_before_it_is_there(prepared, tmp_path):
    chosen, context = wanted(student_init="base"), sharing(prepared, tmp_path)
    chosen = Identity(
        chosen.config.model_copy(update={"compute": chosen.config.compute.model_copy(update={"checkpoints": False})})
    )
    killed_after(context, chosen, 5)
    assert [report.epoch for report in reports(context, chosen)] == [4, 5, 6]


def _reports(store: Store, chosen: Identity):
    return reports(WorkerContext.open(store, Path(store.root), alone=True, threads=1), chosen)


def test_of_equal_epochs_the_first_is_delivered_and_patience_ends_what_gets_no_better(prepared, tmp_path):
    # Nothing is learned, so all epochs are as good as the first.
    still = {"learning_rate": 1e-12, "patience": 2}
    chosen = wanted(num_generations=3, epochs_per_generation=3, student_init="previous")
    chosen = Identity(chosen.config.model_copy(update={"training": chosen.config.training.model_copy(update=still)}))
    context = sharing(prepared, tmp_path)
    result = run(context, chosen)
    # A student that goes on ends its lineage with its patience.
    assert [len(each.epoch_scores) for each in result.generations] == [3]
    assert context.store.record(result.artifact).epoch == 1


def test_patience_ends_a_generation_of_students_that_begin_anew(prepared, tmp_path):
    still = {"learning_rate": 1e-12, "patience": 1}
    chosen = wanted(num_generations=2, epochs_per_generation=3, student_init="base")
    chosen = Identity(chosen.config.model_copy(update={"training": chosen.config.training.model_copy(update=still)}))
    context = sharing(prepared, tmp_path)
    result = run(context, chosen)
    assert [(len(each.epoch_scores), each.ended_early) for each in result.generations] == [(2, True), (2, True)]
    assert [report.epoch for report in Journal(context.store).epochs.of(chosen.id)] == [1, 2, 4, 5]
    # Resumed when it is done, it does nothing again.
    assert list(reports(context, chosen)) == []


@pytest.mark.parametrize("make", [point, tag_point])
def test_a_teacher_is_that_of_its_best_epoch_and_ends_with_its_patience(make, tmp_path):
    train = {"epochs": 6, "learning_rate": 2e-2, "patience": 2}
    chosen = make(base={"train": train}, selection={"source": {"num_items": 24}, "epoch_max_items": 8})
    context = opened(tmp_path)
    said = [line for line in prepare(context, [chosen]) if ": epoch " in line]
    by_teacher: dict[str, list[float]] = {}
    for line in said:
        who, _, rest = line.partition(": epoch ")
        by_teacher.setdefault(who, []).append(float(rest.partition("selection ")[2].split()[0]))
    assert len(by_teacher) == len(chosen.first_teachers)
    for teacher, found in zip(chosen.first_teachers, by_teacher.values(), strict=True):
        assert context.store.record(teacher).dev_score == pytest.approx(max(found), abs=0.05)
        assert len(found) == min(6, found.index(max(found)) + 3)
    assert chosen.first_teachers != make(base={"train": {**train, "deliver": "last", "patience": None}}).first_teachers
