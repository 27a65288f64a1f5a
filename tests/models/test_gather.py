import pytest
import torch
from support import gathered_loss as gathers
from support.gathered_loss import COUNTS, loss_of, rows
from support.process_group import run_as_ranks

from raykd.models.gather import gather_rows


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return run_as_ranks(gathers.gathered, 2, tmp_path_factory.mktemp("ranks"))


@pytest.mark.cluster
@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_every_rank_sees_the_rows_of_all_in_their_order(two_ranks, counts):
    for found in two_ranks:
        assert torch.equal(found[COUNTS.index(counts)][0], rows(sum(counts)))


@pytest.mark.cluster
@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_a_rows_gradient_is_the_sum_over_ranks_and_reaches_its_owner(two_ranks, counts):
    whole = rows(sum(counts)).requires_grad_()
    (loss_of(whole, 0) + loss_of(whole, 1)).backward()
    for found, expected in zip(two_ranks, whole.grad.split(counts), strict=True):
        torch.testing.assert_close(found[COUNTS.index(counts)][1], expected)


def test_a_process_alone_keeps_its_rows():
    values = rows().requires_grad_()
    assert gather_rows(values, [5]) is values


@pytest.mark.parametrize("counts", [[4], [5, 5], []])
def test_counts_that_do_not_fit_are_refused(counts):
    with pytest.raises(ValueError, match="rank 0 of 1 has 5 rows"):
        gather_rows(rows(), counts)
