import pytest
from ray.core.generated.autoscaler_pb2 import ClusterConfig
from support.tiny_sweeps import point

from raykd.errors import CapacityError
from raykd.executors.capacity import MANY_NODES, Capacity, WorkerResources, check_storage, nodes_to_come
from raykd.storage import Storage

TWO_CORES = Capacity(((2.0, 0.0),))
FOUR_NODES = Capacity(((16.0, 0.0),) * 4)
GPU_NODES = Capacity(((16.0, 2.0), (16.0, 2.0)))


def plan(capacity: Capacity, *, wanted: int, **compute) -> tuple[WorkerResources, int]:
    config = point(compute=compute).config
    worker = capacity.worker(config, wanted=wanted)
    return worker, capacity.concurrency(config, worker)


def test_points_share_out_the_cores_of_a_small_machine():
    assert plan(TWO_CORES, wanted=1) == (WorkerResources(2.0, 0.0), 1)
    assert plan(TWO_CORES, wanted=12) == (WorkerResources(1.0, 0.0), 2)
    assert plan(TWO_CORES, wanted=12, num_workers=2) == (WorkerResources(1.0, 0.0), 1)


def test_a_worker_is_never_larger_than_a_node():
    assert plan(FOUR_NODES, wanted=1) == (WorkerResources(16.0, 0.0), 4)
    assert plan(FOUR_NODES, wanted=8) == (WorkerResources(8.0, 0.0), 8)
    assert plan(FOUR_NODES, wanted=1, num_workers=4) == (WorkerResources(16.0, 0.0), 1)


def test_an_elastic_group_takes_what_there_is_between_its_bounds():
    assert plan(TWO_CORES, wanted=1, num_workers=[1, 2]) == (WorkerResources(1.0, 0.0), 1)
    assert plan(TWO_CORES, wanted=4, num_workers=[2, 8]) == (WorkerResources(1.0, 0.0), 1)
    assert plan(FOUR_NODES, wanted=2, num_workers=[1, 2]) == (WorkerResources(16.0, 0.0), 2)


def test_a_worker_takes_a_gpu_where_there_are_any():
    assert plan(GPU_NODES, wanted=100) == (WorkerResources(8.0, 1.0), 4)
    assert plan(GPU_NODES, wanted=100, gpus_per_worker=0.5) == (WorkerResources(4.0, 0.5), 8)


@pytest.mark.parametrize(
    ("capacity", "compute"),
    [
        (TWO_CORES, {"num_workers": 3}),
        (TWO_CORES, {"num_workers": [3, 4]}),
        (FOUR_NODES, {"cpus_per_worker": 17}),
        (GPU_NODES, {"gpus_per_worker": 4}),
        (TWO_CORES, {"gpus_per_worker": 1}),
    ],
)
def test_what_can_never_fit_is_refused_with_what_to_do(capacity, compute):
    with pytest.raises(CapacityError, match=r"do not fit.*Fix: lower it"):
        plan(capacity, wanted=1, **compute)


def test_the_driver_of_a_group_finds_room_beside_workers_that_fill_the_machine():
    worker = TWO_CORES.worker(point(compute={"num_workers": 2}).config, wanted=1)
    assert 2 * worker.beside_driver()["CPU"] + 0.01 <= 2


def test_a_storage_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CapacityError, match="cannot write here"):
        check_storage(Storage(tmp_path / "file" / "results"))


def test_nodes_that_an_autoscaler_may_add_count_once():
    config = ClusterConfig()
    config.node_group_configs.add(name="cpu", max_count=3).resources.update({"CPU": 8})
    config.node_group_configs.add(name="gpu", max_count=-1).resources.update({"CPU": 16, "GPU": 2})
    coming = nodes_to_come(config, [(2.0, 0.0), (8.0, 0.0), (16.0, 2.0)])
    assert coming.count((8.0, 0.0)) == 2
    assert coming.count((16.0, 2.0)) == MANY_NODES - 1
    assert plan(Capacity(((2.0, 0.0), *coming)), wanted=1, num_workers=4, gpus_per_worker=2)[0].gpus == 2
