import tempfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.errors import ArtifactError
from raykd.results.artifacts import Store
from raykd.results.signals import SignalStore
from raykd.tasks.teaching import Reading, average


def window(number: int, length: int) -> torch.Tensor:
    """Logits that tell the window and the position they belong to."""
    return number + torch.arange(length) / 100


def of(root: Path) -> SignalStore:
    return SignalStore(Store(root), PurePosixPath("signals"), teacher="t0")


def write(store: SignalStore, windows: list[tuple[str, int, int]]) -> None:
    """Write one part; a window is its id, its number and its length."""
    parts = [window(number, length) for _, number, length in windows]
    lengths = [length for _, _, length in windows]
    arrays = {"start": torch.cat(parts), "end": -torch.cat(parts)}
    store.write([name for name, _, _ in windows], lengths, arrays)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_windows_come_back_in_any_order_from_any_number_of_parts(data):
    lengths = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=12))
    part_of = data.draw(st.lists(st.integers(0, 3), min_size=len(lengths), max_size=len(lengths)))
    wanted = data.draw(st.lists(st.sampled_from(range(len(lengths))), min_size=1, max_size=15))
    with tempfile.TemporaryDirectory() as folder:
        store = of(Path(folder))
        for part in set(part_of):
            write(store, [(f"w{i}", i, length) for i, length in enumerate(lengths) if part_of[i] == part])
        signals, _ = store.read([f"w{i}" for i in wanted], np.array([lengths[i] for i in wanted]))
    expected = torch.cat([window(i, lengths[i]) for i in wanted])
    assert torch.equal(signals["start"], expected)
    assert torch.equal(signals["end"], -expected)


def test_signals_of_more_than_one_dimension_keep_their_shape(tmp_path):
    store = of(tmp_path)
    emissions = torch.arange(10.0).reshape(5, 2)
    store.write(["a", "b"], [2, 3], {"emissions": emissions})
    assert torch.equal(store.read(["b", "a"], np.array([3, 2]))[0]["emissions"], emissions[[2, 3, 4, 0, 1]])


def test_half_precision_stays_and_constants_come_along(tmp_path):
    store, matrix = of(tmp_path), torch.arange(4.0).view(2, 2)
    store.write(["a"], [2], {"start": torch.tensor([0.5, 1.5], dtype=torch.float16)}, {"between": matrix})
    arrays, constants = store.read(["a"], np.array([2]))
    assert arrays["start"].dtype == torch.float16 and arrays.keys() == {"start"}
    assert torch.equal(constants["between"], matrix)


def test_missing_gives_the_indices_that_no_part_holds(tmp_path):
    store = of(tmp_path)
    assert store.missing(["a", "b"]).tolist() == [0, 1]
    write(store, [("b", 1, 2)])
    assert store.missing(["a", "b", "c"]).tolist() == [0, 2]
    write(store, [("a", 0, 2), ("c", 2, 2)])
    assert store.missing(["a", "b", "c"]).tolist() == []
    assert store.missing([]).tolist() == []


def test_a_part_without_its_json_file_does_not_exist(tmp_path):
    store = of(tmp_path)
    write(store, [("a", 0, 2)])
    write(store, [("b", 1, 2)])
    for path in tmp_path.glob("signals/*.json"):
        if '"b"' in path.read_text():
            path.unlink()
    assert store.missing(["a", "b"]).tolist() == [1]
    with pytest.raises(ArtifactError, match="no signals of b"):
        store.read(["a", "b"], np.array([2, 2]))


def test_a_part_without_its_arrays_does_not_exist(tmp_path):
    store = of(tmp_path)
    write(store, [("a", 0, 2)])
    next(tmp_path.glob("signals/*.safetensors")).unlink()
    assert store.missing(["a"]).tolist() == [0]


def test_a_window_of_another_length_is_named(tmp_path):
    store = of(tmp_path)
    write(store, [("a", 0, 2), ("b", 1, 3)])
    with pytest.raises(ArtifactError, match="b has another length"):
        store.read(["a", "b"], np.array([2, 4]))


def test_the_same_windows_written_again_replace_their_part(tmp_path):
    store = of(tmp_path)
    write(store, [("a", 0, 2), ("b", 1, 3)])
    write(store, [("a", 5, 2), ("b", 6, 3)])
    assert len(list(tmp_path.glob("signals/*.json"))) == 1
    assert torch.equal(store.read(["b"], np.array([3]))[0]["start"], window(6, 3))


def test_a_failed_write_leaves_nothing(tmp_path):
    logits = torch.zeros(2)
    with pytest.raises(RuntimeError, match="share memory"):
        of(tmp_path).write(["a"], [2], {"start": logits, "end": logits})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_average_is_taken_element_by_element():
    starts, ends = ([1.0, 2.0], [3.0, 2.0], [5.0, 8.0]), ([0.0, -4.0], [1.0, 0.0], [2.0, 1.0])
    arrays = [{"start": torch.tensor(start), "end": torch.tensor(end)} for start, end in zip(starts, ends, strict=True)]
    readings = [Reading(np.arange(2), each, {}) for each in arrays]
    mean = average(readings)
    assert mean["start"].tolist() == [3.0, 4.0]
    assert mean["end"].tolist() == [1.0, -1.0]
    assert torch.equal(average(readings[:1])["start"], arrays[0]["start"])
