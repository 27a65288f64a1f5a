"""One run at a time, with real processes that die."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raykd.errors import LeaseHeldError, LeaseLostError
from raykd.results import lease as leases
from raykd.results.artifacts import ArtifactRecord, Store
from raykd.results.lease import Lease, holder, living

HOLD = """
import sys, time
from pathlib import Path
from raykd.results import lease
from raykd.results.artifacts import ArtifactRecord, Store
lease.BEAT_SECONDS = 0.1
with lease.Lease.take(Store(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(leases, "SILENCE_SECONDS", 0.6)


@pytest.fixture
def other(store):
    """Another process that holds the lease."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(store.root)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == "held"
        yield process
        process.kill()


def test_a_lease_that_was_given_back_can_be_taken_again_at_once(store):
    started = time.monotonic()
    with Lease.take(store) as first:
        assert holder(store).pid == os.getpid()
        first.fence()
    assert holder(store) is None
    with Lease.take(store) as second:
        assert second.number == first.number + 1
    assert time.monotonic() - started < 0.5


def test_the_lease_of_a_living_run_is_refused_and_names_it(store, other):
    with pytest.raises(LeaseHeldError, match=f"process {other.pid} on .* is running this sweep"):
        Lease.take(store)


def test_the_lease_of_a_killed_process_of_this_machine_is_taken_without_a_wait(store, other, monkeypatch):
    monkeypatch.setattr(leases, "SILENCE_SECONDS", 60.0)
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with Lease.take(store) as lease:
        assert lease.number == 2


def test_whether_a_run_lives_is_known_at_once(store, other):
    assert living(store).pid == other.pid
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert living(store) is None
    with Lease.take(store) as lease:
        assert living(store).number == lease.number
    assert living(store) is None


def test_a_run_elsewhere_lives_as_long_as_it_beats(store):
    lease = Lease.take(store)
    store.write_json("lease/000001.json", {**store.read_json("lease/000001.json"), "host": "elsewhere"})
    assert living(store).number == 1
    time.sleep(leases.SILENCE_SECONDS)
    assert living(store) is None
    lease.beat(1)
    assert living(store).number == 1


def test_a_silent_holder_elsewhere_is_waited_for_and_then_kept_out(store):
    slow = Lease.take(store)
    record = {**store.read_json("lease/000001.json"), "host": "elsewhere"}
    store.write_json("lease/000001.json", record)
    said = []
    with Lease.take(store, say=said.append) as fast:
        assert fast.number == 2
        assert "waiting 0.6 s for a sign of life" in said[0]
        with pytest.raises(LeaseLostError):
            slow.fence()
    # Also when the faster one is done, and a third one has cleared the numbers away.
    with Lease.take(store):
        pass
    with pytest.raises(LeaseLostError):
        slow.fence()


def test_a_store_of_a_run_that_lost_its_lease_reads_and_changes_nothing(store, tmp_path):
    slow = Lease.take(store)
    fenced = pickle.loads(pickle.dumps(slow.fenced_store()))  # as another process of that run has it
    fenced.write("state", b"slow")
    store.write_json("lease/000001.json", {**store.read_json("lease/000001.json"), "host": "elsewhere"})
    file = tmp_path / "file"
    file.touch()

    def commit() -> None:
        with fenced.committing("artifact", lambda: ArtifactRecord(kind="base")):
            pass

    with Lease.take(store) as fast:
        fast.fenced_store().write("state", b"fast")
        for change in (
            lambda: fenced.write("state", b"slow"),
            lambda: fenced.create("other", b"slow"),
            lambda: fenced.remove("state"),
            lambda: fenced.publish(file, "file"),
            commit,
            fenced.check_fence,
        ):
            with pytest.raises(LeaseLostError):
                change()
        assert fenced.read("state") == b"fast"
        assert set(store.children("")) == {"lease", "state"}


def test_of_two_runs_that_start_together_one_gets_it(store):
    command = [sys.executable, "-c", HOLD, str(store.root)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(4)
    ]
    try:
        deadline = time.monotonic() + 60
        while sum(process.poll() is not None for process in processes) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        ended = [process.poll() for process in processes]
        assert sorted(code is None for code in ended) == [False, False, False, True]
        assert all(code != 0 for code in ended)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()
