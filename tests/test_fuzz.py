"""Whatever happens to the files that raykd reads: what was written is read, or a plain error says what is wrong."""

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.written_results import description, report, result

from raykd.config.keys import leaf_keys, with_path
from raykd.config.point import ComputeConfig, LineageConfig
from raykd.errors import ArtifactError, ConfigError, RaykdError
from raykd.plan.file import load_sweep
from raykd.plan.sweep import SearchConfig, SweepConfig
from raykd.report.leaderboard import failures, leaderboard
from raykd.results.artifacts import ArtifactRecord, Store
from raykd.results.journal import Journal
from raykd.results.points import GenerationRecord, PointDescription
from raykd.results.records import read_records
from raykd.results.signals import SignalStore
from raykd.results.sweep import SweepDescription
from raykd.tasks import TASKS
from raykd.tasks.outcomes import CellOutcomes, Outcomes
from raykd.worker.checkpoints import Checkpoints, Position
from raykd.worker.context import WorkerContext
from raykd.worker.lineage import Lineage
from raykd.worker.loop import Begun
from raykd.worker.resuming import load_resume_state
from raykd.worker.timer import no_notice

SWEEPS = {path.name: path.read_text() for path in sorted((Path(__file__).parents[1] / "sweeps").glob("*.yaml"))}

PARSED = {name: yaml.safe_load(text) for name, text in SWEEPS.items()}
KEYS = tuple(dict.fromkeys(key for task in TASKS.values() for key in leaf_keys(task.point)))
"""Of the points of all tasks: of most files some of them are another task's."""

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What would break a line, or a terminal."""


def cases(count: int) -> settings:
    """So many cases, each within seconds: a hang is a failure too."""
    return settings(
        max_examples=count,
        deadline=5000,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.integers(),
    st.floats(),
    st.sampled_from(
        ["", "no", "auto", "1e-3", ".nan", "builtin:tiny", "../..", "asha", "optuna", "pbt", "\x00", "a\nb"]
    ),
    st.text(max_size=12),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | SCALARS, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes that were cut off, overwritten, doubled or replaced."""
    at, other = sorted((draw(st.integers(0, len(content))), draw(st.integers(0, len(content)))))
    return draw(
        st.sampled_from(
            [
                content[:at],
                content[:at] + draw(st.binary(max_size=8)) + content[other:],
                content[:at] + bytes(other - at) + content[other:],
                content[:other] + content[at:],
                draw(st.binary(max_size=64)),
                json.dumps(draw(VALUES), default=str).encode(errors="surrogatepass"),
            ]
        )
    )


def is_refused_or_read(path: Path, content: bytes) -> None:
    """A sweep file with this content gives a configuration, or problems of a line each that name the file."""
    path.write_bytes(content)
    try:
        sweep = load_sweep(path)
    except ConfigError as error:
        assert error.problems
        for line in error.problems:
            assert line.startswith(f"{path}: ")
            assert not CONTROL.search(line), repr(line)
    else:
        assert isinstance(sweep, SweepConfig)


@cases(400)
@given(name=st.sampled_from(sorted(SWEEPS)), data=st.data())
def test_a_shipped_sweep_file_with_damaged_text(tmp_path, name, data):
    is_refused_or_read(tmp_path / "sweep.yaml", data.draw(damaged(SWEEPS[name].encode())))


@st.composite
def changed(draw: st.DrawFn, raw: dict[str, Any]) -> dict[str, Any]:
    """A sweep with other values at a few places, in methods and in the search space too."""
    for key in draw(st.lists(st.sampled_from([*KEYS, *raw]), min_size=1, max_size=3)):
        place = draw(
            st.sampled_from([tuple(key.split(".")), ("methods", "other", *key.split(".")), ("search", "space", key)])
        )
        raw = with_path(raw, place, draw(VALUES))
    if draw(st.booleans()):
        raw = with_path(raw, ("search", draw(st.sampled_from([*SearchConfig.model_fields]))), draw(VALUES))
    return raw


@cases(600)
@given(name=st.sampled_from(sorted(SWEEPS)), data=st.data())
def test_a_shipped_sweep_file_with_other_values(tmp_path, name, data):
    raw = data.draw(changed(PARSED[name]))
    is_refused_or_read(tmp_path / "sweep.yaml", yaml.safe_dump(raw, allow_unicode=True).encode(errors="surrogatepass"))


@cases(200)
@given(raw=VALUES)
def test_a_file_with_anything_in_it(tmp_path, raw):
    is_refused_or_read(tmp_path / "sweep.yaml", yaml.safe_dump(raw, allow_unicode=True).encode(errors="surrogatepass"))


def described(point_id: str, seed: int) -> PointDescription:
    """A point as the journal holds it."""
    varied = {"data.budget": 16, "seed": seed}
    config = {"base": {"model": "builtin:tiny"}}
    return description(point_id, label=f"skd seed={seed}", varied=varied, base="b0", config=config)


@pytest.fixture(scope="module")
def journal(tmp_path_factory) -> Journal:
    """A sweep of a finished point, a failed one and one that runs."""
    made = Journal.at(tmp_path_factory.mktemp("sweep"))
    made.sweep.write(SweepDescription(name="fuzz", points=("a1", "a2", "a3"), data={"train": "0" * 64}))
    for seed, point_id in enumerate(("a1", "a2", "a3"), start=1):
        made.points.add(described(point_id, seed))
        made.points.start(point_id)
        for epoch in (1, 2):
            made.epochs.write(point_id, report(epoch, loss=0.5 / epoch, dev_score=20.5))
    cells = {"en": CellOutcomes("0" * 16, [100.0, 23.0])}
    outcomes = Outcomes(statistic="mean", unit="question", scores={"gxlt_f1": ["en"]}, items={}, cells=cells)
    made.points.write_outcomes("a1", outcomes)
    made.points.write_result(result("a1", 61.5, artifact="f" * 16, seconds=12.5))
    made.points.end("a1", "finished")
    made.points.end("a2", "failed", error="the loss of step 3 is not a number")
    return made


def everything(journal: Journal) -> list[Any]:
    """All that a journal says."""
    records = read_records(journal.store.root)
    return [records, leaderboard(journal.store.root), failures(records)]


def damage(folder: Path, data: st.DataObject) -> tuple[Path, bytes]:
    """Give one file below a folder other bytes; returns it and what it held."""
    path = folder / data.draw(st.sampled_from(sorted(str(path.relative_to(folder)) for path in files_below(folder))))
    content = path.read_bytes()
    path.write_bytes(data.draw(damaged(content)))
    return path, content


@contextlib.contextmanager
def damage_for_now(folder: Path, data: st.DataObject) -> Iterator[Path]:
    """One file below a folder has other bytes in the block."""
    path, content = damage(folder, data)
    try:
        yield path
    finally:
        path.write_bytes(content)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def is_plain(error: RaykdError, path: Path) -> None:
    """One line, which names the damaged file or the folder it is in."""
    (line,) = error.problems
    assert not CONTROL.search(line), repr(line)
    assert path.name in line or str(path.parent) in line


@cases(500)
@given(data=st.data())
def test_a_journal_with_a_damaged_record(journal, data):
    """A record tells what was written into it, or that it is damaged: never another score, another state."""
    written = everything(journal)
    with damage_for_now(journal.store.root, data) as path:
        try:
            assert everything(journal) == written
        except ArtifactError as error:
            is_plain(error, path)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """A store with one artifact, `a0`."""
    made = Store(tmp_path_factory.mktemp("store"))
    with made.committing("a0", lambda: ArtifactRecord(kind="generation", generation=1)) as folder:
        (folder / "model.safetensors").write_bytes(bytes(range(256)) * 8)
        (folder / "config.json").write_text('{"hidden_size": 64}')
    return made


@cases(300)
@given(data=st.data())
def test_an_artifact_with_a_damaged_file(store, data):
    record = store.record("a0")
    with damage_for_now(store.artifact("a0"), data) as path:
        try:
            assert store.verify("a0") == record
            assert store.has("a0")
        except ArtifactError as error:
            is_plain(error, path)


@pytest.fixture(scope="module")
def signals(tmp_path_factory) -> SignalStore:
    """Two parts of two windows each."""
    made = SignalStore(Store(tmp_path_factory.mktemp("signals")), PurePosixPath("teacher"), "t0")
    for number, ids in enumerate((["w0", "w1"], ["w2", "w3"])):
        made.write(ids, [3, 2], {"start": torch.arange(5.0) + number}, {"transitions": torch.eye(2)})
    return made


@cases(300)
@given(data=st.data())
def test_signals_with_a_damaged_part(signals, data):
    ids, lengths = ["w3", "w0", "w1", "w2"], np.array([2, 3, 2, 3])
    arrays, constants = signals.read(ids, lengths)
    with damage_for_now(signals.store.root / signals.folder, data) as path:
        try:
            missing = signals.missing(ids)
            again, same = signals.read(ids, lengths)
            assert torch.equal(again["start"], arrays["start"])
            assert torch.equal(same["transitions"], constants["transitions"])
            assert not len(missing)
        except ArtifactError as error:
            is_plain(error, path)


class Student:
    """Stands for an engine: all that it holds is a few bytes."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "states.pt").write_bytes(self.content)

    def needs_universal(self, num_ranks: int) -> bool:
        return False

    def load(self, folder: Path) -> None:
        self.content = (folder / "states.pt").read_bytes()


SAVED = {b"after generation 1": Position(1, 1, 1), b"in generation 2": Position(2, 0, 1, Begun([[1.0, 0.5, 0.5]]))}
"""What the student held where the two newest checkpoints were saved."""


def checkpoints_below(root: Path) -> Checkpoints:
    """Those of point `a1`."""
    context = WorkerContext(Store(root), root)
    return Checkpoints(context, "a1", ComputeConfig(), notice=no_notice)


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """The store of a point in its second generation."""
    root = tmp_path_factory.mktemp("begun")
    made = checkpoints_below(root)
    with made.store.committing("g1", lambda: ArtifactRecord(kind="generation")) as folder:
        (folder / "model.safetensors").write_bytes(b"weights")
    Journal(made.store).points.write_generations("a1", (GenerationRecord(1, "g1", 20.5),))
    for content, position in SAVED.items():
        made.save(Student(content), position)
    made.close()
    return root


@cases(200)
@given(data=st.data())
def test_a_checkpoint_with_a_damaged_file(begun, data):
    """A point goes on from a checkpoint as it was saved, the one before or none; a generation is done or it is not."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(begun, folder, dirs_exist_ok=True))
        damage(root / "points" / "a1", data)
        checkpoints, student = checkpoints_below(root), Student()
        progress = load_resume_state(checkpoints, Lineage(LineageConfig(num_generations=3), "base"))
        assert progress.records in ([], [GenerationRecord(1, "g1", 20.5)])
        if progress.saved is not None:
            checkpoints.load(student, progress.saved)
            assert SAVED[student.content] == progress.saved.position
        checkpoints.close()
