"""Checkpoints that another number of workers goes on from: real DeepSpeed engines on real ranks, no Ray."""

import pytest
import torch
from support import elastic_training as elastic
from support.process_group import run_as_ranks

from raykd.results.artifacts import Store
from raykd.worker.context import WorkerContext


@pytest.fixture(scope="module")
def resumed(tmp_path_factory) -> dict[tuple[int, int], dict[int, dict[str, torch.Tensor]]]:
    """(ranks before, ranks after) -> stage -> the weights at the end."""
    root = tmp_path_factory.mktemp("elastic")
    context = WorkerContext.open(Store(root), root, alone=True, threads=1)
    for stage in elastic.STAGES:
        elastic.first_half(context, stage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYKD_TEST_ROOT", str(root))
        up = run_as_ranks(elastic.rank_of_two, 2, tmp_path_factory.mktemp("ranks"))[0]
    down = {stage: elastic.second_half(context, stage, saved_by=2) for stage in elastic.STAGES}
    same = {stage: elastic.second_half(context, stage, saved_by=1) for stage in elastic.STAGES}
    return {(1, 2): up, (2, 1): down, (1, 1): same}


@pytest.mark.parametrize("stage", elastic.STAGES)
@pytest.mark.parametrize("ranks", [(1, 2), (2, 1)])
def test_another_number_of_workers_ends_with_the_weights_of_an_undisturbed_run(resumed, ranks, stage):
    expected, found = elastic.undisturbed(stage), resumed[ranks][stage]
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("stage", elastic.STAGES)
def test_the_same_number_of_workers_ends_with_the_same_bits(resumed, stage):
    expected, found = elastic.undisturbed(stage), resumed[1, 1][stage]
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
