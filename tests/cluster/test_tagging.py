"""Sweeps of task tagging on a real local Ray cluster of two CPUs."""

import pytest
from support.sweep_folder import losses, results, write
from support.tiny_sweeps import tag_sweep

from raykd.cli import main

pytestmark = pytest.mark.cluster


def test_two_workers_under_zero_2_and_3_give_the_losses_of_one(capsys):
    """Float32, with a learning rate for transitions alone and unlabelled sentences: within 1e-4 of each term a step."""
    two, frozen = {"num_workers": 2}, {"freeze_encoder": True}
    keys = tag_sweep(
        methods={
            "one": {},
            "zero-2": {"compute": {"num_workers": 2, "zero_stage": 2}},
            "zero-3": {"compute": {"num_workers": 2, "zero_stage": 3}},
            "frozen": {"head": frozen},
            "frozen-2": {"head": frozen, "compute": two},
        },
        head={"lstm_size": 8},
        data={"budget": 12, "unlabelled": {"source": "rest"}, "unlabelled_per_labelled": 1},
        student={"num_layers": 1},
        lineage={"epochs_per_generation": 2, "keep_first_teachers": True},
        distillation={"objective": "posterior_top_wk", "k": 3, "kd_share": {"start": 1, "end": 0}},
        training={"learning_rate": 1e-4, "transition_learning_rate": 1e-2, "tokens_per_step": 128, "dropout": 0.0},
    )
    assert main(["sweep", write(keys)]) == 0
    capsys.readouterr()
    pairs = {"zero-2 seed=1": "one seed=1", "zero-3 seed=1": "one seed=1", "frozen-2 seed=1": "frozen seed=1"}
    for label, alone in pairs.items():
        one = losses(alone)
        assert len(one) >= 30
        assert one[0, 2] > 1e-2
        difference = ((losses(label) - one).abs() / one.abs().clamp(min=1)).max().item()
        print(f"{label}: at most {difference:.1e} a step over {len(one)} steps")
        assert difference < 1e-4
        assert results()[label].num_workers == 2


def test_a_sweep_of_methods_shares_teachers_and_ends_in_a_leaderboard(capsys):
    keys = tag_sweep(
        methods={
            "crf": {"distillation": {"kd_weight": 0}},
            "posterior": {},
            "top-wk": {"distillation": {"objective": "top_wk", "k": 3}},
            "softmax": {"head": {"kind": "softmax"}, "distillation": {"objective": "token"}},
        },
        seeds=[1, 2],
    )
    assert main(["sweep", write(keys)]) == 0
    said = capsys.readouterr().out
    assert "\n8 finished;" in said
    assert said.count("teacher en: epoch 1/1") == said.count("teacher es: epoch 1/1") == 2  # one CRF, one softmax each
    assert "| method | F1 | zero-shot F1 | en | es | zh (zero-shot) | seeds | s/point |" in said
    assert main(["sweep", "sweep.yaml"]) == 0
    assert "nothing to do: all 8 finished" in capsys.readouterr().out
    assert main(["leaderboard", "runs/tiny", "--cells"]) == 0
