"""What nodes could hold, worked out by hand."""

from raykd.executors.waiting import could_hold

SMALL, LARGE = {"CPU": 1.0}, {"CPU": 8.0, "GPU": 2.0}


def test_bundles_share_nodes_and_none_spans_two():
    assert could_hold([SMALL, SMALL], [{"CPU": 0.99}] * 2)
    assert not could_hold([SMALL], [{"CPU": 0.99}] * 2)
    assert not could_hold([SMALL, SMALL], [{"CPU": 1.5}])
    assert could_hold([SMALL, LARGE], [{"CPU": 4.0, "GPU": 1.0}] * 2)
    assert not could_hold([SMALL, LARGE], [{"CPU": 1.0, "GPU": 1.0}] * 3)
    assert could_hold([LARGE], [])
