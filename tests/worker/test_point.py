"""The worker loop on the built-in world: real DeepSpeed engines in this process, no Ray."""

import dataclasses
import itertools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from support.points import killed_after, losses, opened, ready, reports, run, weights
from support.rescored import check_rebuilt
from support.tiny_sweeps import point

from raykd.config.identity import Identity
from raykd.errors import ArtifactError, LeaseLostError, TrainingError
from raykd.report.examples import read_examples
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.storage import Name
from raykd.worker.checkpoints import Checkpoints
from raykd.worker.job import PointJob
from raykd.worker.passes import signal_store
from raykd.worker.point import lineage_of
from raykd.worker.resuming import ResumeState, load_resume_state
from raykd.worker.timer import no_notice


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A results folder with generation 0, its scores and signals."""
    root = tmp_path_factory.mktemp("prepared")
    ready(opened(root), point())
    return root


def progress(context, wanted: Identity) -> ResumeState:
    checkpoints = Checkpoints(context, wanted.id, wanted.config.compute, notice=no_notice)
    return load_resume_state(checkpoints, lineage_of(PointJob(wanted), context.store))


def test_a_point_ends_with_a_verified_artifact_scores_of_all_cells_and_an_epoch_record_each(context):
    result = run(context, point())
    record = context.store.verify(result.artifact)
    assert record.generation == 2
    assert record.parents == (result.generations[0].artifact,)
    assert len(result.scores.cells) == 9
    outcomes = Journal(context.store).points.outcomes(point().id)
    check_rebuilt(outcomes, result.scores)
    # Four questions, each asked and answered in three languages.
    assert (read_examples(outcomes, "gxlt_f1").counts == np.ones((4, 9))).all()
    (base,) = Journal(context.store).sweep.base_scores()
    check_rebuilt(base.outcomes, base.final)
    assert [epoch.generation for epoch in Journal(context.store).epochs.of(point().id)] == [1, 2]
    assert result.data["budget"]["ids"]


def test_only_the_last_generation_keeps_its_weights(context):
    first, last = run(context, point()).generations
    assert not context.store.has(first.artifact)
    assert context.store.has(last.artifact)
    with pytest.raises(ArtifactError, match="weights were removed"):
        context.store.verify(first.artifact)


@pytest.mark.parametrize(
    ("student_init", "teacher"),
    itertools.product(("previous", "teacher", "base"), ("snapshot", "best", "ensemble", "fixed")),
)
def test_every_combination_of_student_init_and_teacher_trains_with_the_teachers_it_names(
    context, student_init, teacher
):
    wanted = point(lineage={"student_init": student_init, "teacher": teacher, "num_generations": 3, "keep": "all"})
    result, base = run(context, wanted), wanted.base
    first, second, _ = (generation.artifact for generation in result.generations)
    used = [tuple(epoch.teachers) for epoch in Journal(context.store).epochs.of(wanted.id)]
    expected = {
        "snapshot": [(base,), (first,), (second,)],
        "ensemble": [(base,), (base, first), (base, first, second)],
        "fixed": [(base,)] * 3,
    }
    if teacher == "best":
        allowed = {base, *(generation.best_artifact for generation in result.generations)}
        assert used[0] == (base,)
        assert all(set(names) <= allowed for names in used)
    else:
        assert used == expected[teacher]
    # Generation 1 learns from its own starting point: no divergence yet in the first step, without dropout.
    assert losses(context, wanted)[0][2] == pytest.approx(0, abs=1e-6)


def test_a_killed_point_goes_on_and_ends_with_the_same_bits(context, prepared, tmp_path_factory):
    wanted = point(
        lineage={"num_generations": 2, "epochs_per_generation": 2}, training={"dropout": 0.1, "weight_decay": 0.01}
    )
    undisturbed = run(context, wanted)
    for num_epochs in (1, 2, 3):
        root = tmp_path_factory.mktemp(f"killed-{num_epochs}")
        other = opened(root)
        ready(other, wanted)
        killed_after(other, wanted, num_epochs)
        found = progress(other, wanted)
        assert found.saved.position.epochs == num_epochs
        assert len(found.records) == (num_epochs - 1) // 2
        resumed = list(reports(other, wanted))
        assert [report.epoch for report in resumed] == list(range(num_epochs + 1, 5))
        again = Journal(other.store).points.result(wanted.id)
        assert again.scores == undisturbed.scores
        expected, found = weights(context, undisturbed.artifact), weights(other, again.artifact)
        assert all(torch.equal(expected[name], found[name]) for name in expected)


class Killed(Exception):
    """Stands for the end of a process."""


@dataclass(frozen=True)
class KilledStore(Store):
    """A store that takes so many changes below `checkpoints`, and then none at all."""

    left: list[int] = field(default_factory=list)

    def _change(self, operation: str, name: Name, *arguments) -> None:
        self.left[0] -= "checkpoints" in str(name)
        if self.left[0] < 0:
            raise Killed
        super()._change(operation, name, *arguments)


@pytest.mark.parametrize("student_init", ["previous", "base"])
def test_a_point_killed_inside_an_epoch_goes_on_at_that_very_step_and_ends_with_the_same_bits(
    context, prepared, tmp_path_factory, student_init
):
    training = {"dropout": 0.1, "weight_decay": 0.01, "tokens_per_step": 256}
    lineage = {"num_generations": 2, "student_init": student_init}
    undisturbed = point(lineage=lineage, training=training, compute={"checkpoints": False})
    expected, rows = run(context, undisturbed), losses(context, undisturbed)
    wanted = point(lineage=lineage, training=training, compute={"checkpoint_seconds": 0})
    num_steps = len(rows) // 2
    inside = set()
    # A checkpoint is three changes: its share, the record of that, the position; from the third on an old one goes too.
    for number in (1, 7, 4 * num_steps + 9):
        root = tmp_path_factory.mktemp(f"killed-{number}")
        other = opened(root)
        ready(other, wanted)
        killed = dataclasses.replace(other, store=KilledStore(root, left=[number]))
        with pytest.raises(Killed):
            list(reports(killed, wanted))
        found = progress(other, wanted)
        inside.add(len(found.saved.position.begun.losses) if found.saved else 0)
        again = run(other, wanted)
        assert torch.equal(losses(other, wanted), rows)
        assert again.scores == expected.scores
        ours, theirs = weights(other, again.artifact), weights(context, expected.artifact)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert len(inside - {0}) >= 2


def test_a_run_that_lost_its_point_writes_nothing(context):
    def lost() -> None:
        raise LeaseLostError("another run took over")

    before = {path for path in context.store.root.rglob("*") if path.is_file()}
    late = dataclasses.replace(context, store=Store(context.store.root, fence=lost))
    with pytest.raises(LeaseLostError):
        list(reports(late, point()))
    assert {path for path in context.store.root.rglob("*") if path.is_file()} == before


def test_a_lineage_that_goes_on_without_a_checkpoint_starts_again(context):
    wanted = point(compute={"checkpoints": False})
    killed_after(context, wanted, 2)
    assert progress(context, wanted) == ResumeState([], None)
    assert [report.epoch for report in reports(context, wanted)] == [1, 2]


def test_a_live_teacher_and_stored_signals_give_the_same_losses(context):
    stored = point(distillation={"coefficient": "map_at_k", "window": 2, "k": 5})
    live = point(distillation={"coefficient": "map_at_k", "window": 2, "k": 5, "signals": "live"})
    run(context, stored), run(context, live)
    torch.testing.assert_close(losses(context, stored), losses(context, live), atol=2e-5, rtol=0)


def test_the_ensemble_of_live_teachers_equals_the_stored_one(context):
    stored = point(lineage={"teacher": "ensemble"})
    live = point(lineage={"teacher": "ensemble"}, distillation={"signals": "live"})
    run(context, stored), run(context, live)
    torch.testing.assert_close(losses(context, stored), losses(context, live), atol=2e-5, rtol=0)


def test_the_legacy_preset_trains_with_padding_in_the_divergence(context):
    legacy = {
        "coefficient": "reciprocal_rank",
        "k": 10,
        "window": (5, 4),
        "reduce": "batch",
        "reduce_group": 6,
        "context_only": False,
        "signals": "live",
    }
    training = {
        "pad_to_max": True,
        "tokens_per_step": None,
        "examples_per_step": 24,
        "micro_batch_examples": 6,
    }
    wanted = point(distillation=legacy, training=training)
    run(context, wanted)
    rows = losses(context, wanted)
    assert len(rows) == 2 * 2  # 32 windows in steps of 24 and 8
    assert rows[0][2] == pytest.approx(0, abs=1e-6)
    assert rows[-1][2] > 0


@pytest.mark.parametrize("view", ["q-random", "q-en-diag"])
def test_a_teacher_that_reads_another_question_differs_from_the_first_step_on(context, view):
    wanted = point(data={"teacher_view": view})
    run(context, wanted)
    assert losses(context, wanted)[0][2] > 1e-4


def test_views_with_other_questions_do_not_share_stored_signals(context):
    base = point().base
    points = [point(data={"teacher_view": "q-random", "num_target_languages": number}) for number in (1, 2)]
    folders = {signal_store(context, base, each).folder for each in points}
    assert len(folders) == 2


def test_points_that_differ_in_knobs_share_one_signal_folder(context):
    base = point().base
    knobs = [{"temperature": 4}, {"coefficient": "map_at_k"}, {"kd_weight": 0.5}]
    folders = {signal_store(context, base, point(distillation=each)).folder for each in knobs}
    assert len(folders) == 1


def test_a_student_with_fewer_layers_learns_from_the_whole_teacher(context):
    wanted = point(student={"num_layers": 1})
    ready(context, wanted)
    result = run(context, wanted)
    saved = json.loads((context.store.artifact(result.artifact) / "config.json").read_text())
    assert saved["num_hidden_layers"] == 1
    assert losses(context, wanted)[0][2] > 1e-4


def test_plain_fine_tuning_stores_no_signals(prepared, tmp_path):
    wanted = point(distillation={"kd_weight": 0})
    context = opened(tmp_path)
    ready(context, wanted)
    run(context, wanted)
    assert not (tmp_path / "signals").exists()


def test_a_gate_that_nobody_passes_delivers_generation_0(context):
    wanted = point(lineage={"min_delta": 100, "patience": 1, "num_generations": 3})
    result = run(context, wanted)
    assert len(result.generations) == 1
    assert result.artifact == wanted.base
    (base,) = Journal(context.store).sweep.base_scores()
    assert Journal(context.store).points.outcomes(wanted.id) == base.outcomes


def test_a_diverging_point_says_which_step_of_which_examples(context):
    wanted = point(training={"learning_rate": 1e30, "max_grad_norm": 0.0}, compute={"checkpoint_seconds": 0})
    with pytest.raises(TrainingError, match=r"generation 1, epoch 1: the loss of step \d+ is not a number, on sw-"):
        run(context, wanted)
    assert not context.store.exists(context.store.point(wanted.id) / "epochs")
    # What is saved is from before that step.
    assert all(map(math.isfinite, itertools.chain(*progress(context, wanted).saved.position.begun.losses)))


def test_a_teacher_whose_bytes_changed_is_refused(context):
    wanted, base = point(), point().base
    folder = context.store.artifact(base)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1] + b"\x00")
    with pytest.raises(ArtifactError, match=r"model\.safetensors differs from its record"):
        run(context, wanted)


def test_generation_0_with_a_damaged_record_is_refused_and_not_made_again(context):
    wanted, base = point(), point().base
    context.store.write(f"artifacts/{base}/record.json", b'{"given": {}')
    with pytest.raises(ArtifactError, match=r"record\.json: damaged"):
        ready(context, wanted)
    assert not context.store.has(base)


def test_micro_batches_change_nothing_but_rounding(context):
    whole = point()
    parts = point(training={"micro_batch_tokens": 128})
    run(context, whole), run(context, parts)
    torch.testing.assert_close(losses(context, whole), losses(context, parts), atol=2e-5, rtol=0)


def test_bf16_trains_and_hands_over(prepared, tmp_path):
    wanted = point(compute={"precision": "bf16"})
    context = opened(tmp_path)
    ready(context, wanted)
    assert run(context, wanted).scores.values["gxlt_f1"] >= 0
    assert {tensor.dtype for tensor in weights(context, run(context, wanted).artifact).values()} == {torch.float32}
