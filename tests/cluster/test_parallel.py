"""Sweeps of task parallel on a real local Ray cluster of two CPUs."""

import pytest
from support.sweep_folder import losses, results, write
from support.tiny_sweeps import pair_sweep

from raykd.cli import main

pytestmark = pytest.mark.cluster


def test_two_workers_that_gather_their_sentences_give_the_losses_of_one(capsys):
    """Float32, ZeRO-2 and ZeRO-3: on the same weights every term within 1e-5, over all steps within 1e-4.

    A norm over the few rows of these steps would blow up rounding from step to step, so that is for the first step.
    """
    keys = pair_sweep(
        methods={
            "one": {},
            "zero-2": {"compute": {"num_workers": 2, "zero_stage": 2}},
            "zero-3": {"compute": {"num_workers": 2, "zero_stage": 3}},
        },
        data={"budget": 24},
        lineage={"num_generations": 1, "epochs_per_generation": 8},
        distillation={"multilevel": {"norm": "layer"}},
        training={"learning_rate": 1e-4, "tokens_per_step": 256, "micro_batch_tokens": 256, "dropout": 0.0},
    )
    assert main(["sweep", write(keys)]) == 0
    capsys.readouterr()
    one = losses("one seed=1")
    assert len(one) >= 50
    assert one.shape[1] == 6 and (one.mean(dim=0) > 1e-4).all()  # total, label, KD; words, sentences, structure
    for label in ("zero-2 seed=1", "zero-3 seed=1"):
        differences = (losses(label) - one).abs() / one.abs().clamp(min=1)
        print(f"{label}: {differences[0].max():.1e} in the first of {len(one)} steps, at most {differences.max():.1e}")
        assert differences[0].max() < 1e-5
        assert differences.max() < 1e-4
        assert results()[label].num_workers == 2


def test_a_sweep_shares_its_teacher_and_ends_in_a_leaderboard(capsys):
    keys = pair_sweep(
        methods={
            "all": {},
            "no-word": {"distillation": {"multilevel": {"word_weight": 0}}},
            "tlm-alone": {"distillation": {"kd_weight": 0}},
        },
        seeds=[1, 2],
    )
    assert main(["sweep", write(keys)]) == 0
    said = capsys.readouterr().out
    assert "6 finished, 0 were done before" in said
    assert said.count("the teacher is ready") == 1
    assert "| method | retrieval | zero-shot retrieval | es | zh | de (zero-shot) | effective rank | seeds |" in said
    assert "mean cosine" in said and "structure" in said
    assert main(["sweep", "sweep.yaml"]) == 0
    assert "0 finished, 6 were done before" in capsys.readouterr().out
    assert main(["leaderboard", "runs/tiny", "--cells"]) == 0
