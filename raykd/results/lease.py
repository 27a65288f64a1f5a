"""One run at a time: the right to write a sweep's folder, numbered so that a run that lost it is kept out.

Leases are numbered from 1; the record of a number is created exclusively, so two runs never hold the same one. The
holder beats; a run that finds no beat for `SILENCE_SECONDS` takes the next number. A store that is opened with the
lease's fence asks before every change whether there is a higher number: a run that was only slow finds out and stops.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raykd.errors import LeaseHeldError, LeaseLostError, RaykdError
from raykd.results.artifacts import Store
from raykd.results.record import Record

BEAT_SECONDS = 5.0
SILENCE_SECONDS = 4 * BEAT_SECONDS
"""A beat that stays the same for so long belongs to a run that is gone. Measured by watching: clocks may differ."""

FOLDER = "lease"


@dataclass(frozen=True, kw_only=True)
class LeaseRecord(Record, version=1):
    """A run that holds, or held, a sweep's folder.

    Attributes:
        host, boot, pid, process_started: its process: the machine, which start of it, and when by the kernel's clock.
        since: when it took the lease, in seconds of the Unix clock.
        who: the same in words.
    """

    number: int
    host: str
    boot: str
    pid: int
    process_started: str | None
    since: float
    who: str


@dataclass(frozen=True, kw_only=True)
class Beat(Record, version=1):
    """That the holder is alive: the count rises, from 0. Once it gave the lease back, `released`."""

    count: int = -1
    released: bool = False


@dataclass(frozen=True)
class Fence:
    """Keeps whatever process of the run that held lease `number` from writing once another run has the lease.

    A check lists the few files of the leases, uncached: no change follows a check by more than the change itself takes.
    """

    store: Store
    number: int

    def __call__(self) -> None:
        """Return while the lease is held.

        Raises:
            LeaseLostError: if another run took over.
        """
        if _newest(self.store) > self.number:
            raise LeaseLostError(
                f"{self.store.root}: another run took this sweep over; this one stops and writes nothing more"
            )


@dataclass
class Lease:
    """The lease of this process. As a context manager it beats until the block ends, and is then given back."""

    store: Store
    number: int
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @classmethod
    def take(cls, store: Store, *, say: Callable[[str], None] = lambda text: None) -> "Lease":
        """Take the lease of a sweep's folder; waits for the beat of a holder that may be gone.

        Args:
            say: told once why there is a wait.

        Raises:
            LeaseHeldError: if another run holds it, alive.
        """
        held = holder(store)
        if held is not None and not _is_gone(held):
            say(f"{held.who} held {store.root} last; waiting {SILENCE_SECONDS:g} s for a sign of life")
            _watch(store, held)
        number = _newest(store) + 1
        record = LeaseRecord(
            number=number,
            host=socket.gethostname(),
            boot=_boot_id(),
            pid=os.getpid(),
            process_started=_started(os.getpid()),
            since=time.time(),
            who=_who(),
        )
        try:
            store.create_record(_record(number), record)
        except FileExistsError as error:
            raise LeaseHeldError(
                f"{store.root}: another run was a moment faster; look at it before starting again"
            ) from error
        lease = cls(store, number)
        lease.beat(0)
        return lease

    @property
    def fence(self) -> Fence:
        """What keeps the processes of this run from writing once it lost the lease."""
        return Fence(self.store, self.number)

    def fenced_store(self) -> Store:
        """The sweep's results, for all processes of this run: it changes nothing once the lease is lost."""
        return Store(self.store.root, fence=self.fence)

    def beat(self, count: int) -> None:
        """Say that this run is alive."""
        self.store.write_record(_beat(self.number), Beat(count=count))

    def release(self) -> None:
        """Give the lease back: the next run need not wait."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=1)
        self.store.write_record(_beat(self.number), Beat(released=True))
        for number in _numbers(self.store):
            if number < self.number:
                self.store.remove(_record(number))
                self.store.remove(_beat(number))

    def __enter__(self) -> "Lease":
        self._thread = threading.Thread(target=self._beats, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.release()

    def _beats(self) -> None:
        count = 0
        while not self._ended.wait(BEAT_SECONDS):
            count += 1
            try:
                self.fence()
                self.beat(count)
            except LeaseLostError:
                return
            except (OSError, RaykdError):
                # Storage may be back for the next beat; whoever writes asks the fence in any case.
                continue


def holder(store: Store) -> LeaseRecord | None:
    """The record of the run that holds a sweep's folder, as far as it did not give it back; it may be dead."""
    number = _newest(store)
    if not number or _last_beat(store, number).released:
        return None
    return store.read_record(_record(number), LeaseRecord)


def living(store: Store) -> LeaseRecord | None:
    """The record of the run that is alive, judged at once; None where there is none. Only reads.

    A process of this machine is looked up. One elsewhere counts as alive for `SILENCE_SECONDS` after its last beat, by
    this machine's clock and that of the storage.
    """
    while number := _newest(store):
        held = store.find_record(_record(number), LeaseRecord)
        if held is None:
            # The next run has cleared it away.
            continue
        if _last_beat(store, number).released or _is_gone(held):
            return None
        beat = store.files(_beat(number)).get("")
        recent = time.time() - (beat.changed if beat else held.since) < SILENCE_SECONDS
        return held if recent or _is_here(held) else None
    return None


def _is_here(held: LeaseRecord) -> bool:
    """Whether the holder is, or was, a process of this machine."""
    return (held.host, held.boot) == (socket.gethostname(), _boot_id())


def _is_gone(held: LeaseRecord) -> bool:
    """Whether the holder was a process of this machine that is no more."""
    return _is_here(held) and _started(held.pid) != held.process_started


def _watch(store: Store, held: LeaseRecord) -> None:
    """Wait until a holder was silent for long enough.

    Raises:
        LeaseHeldError: if it beats.
    """
    before, ends = _last_beat(store, held.number), time.monotonic() + SILENCE_SECONDS
    while time.monotonic() < ends:
        time.sleep(BEAT_SECONDS / 5)
        now = _last_beat(store, held.number)
        if now.released:
            return
        if now != before:
            raise LeaseHeldError(
                f"{store.root}: {held.who} is running this sweep; wait until it is done, or stop it first"
            )


def _who() -> str:
    job = os.environ.get("RAY_JOB_SUBMISSION_ID")
    return f"process {os.getpid()} on {socket.gethostname()}" + (f" (job {job})" if job else "")


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process of this machine started, in the kernel's own clock; None where there is none, or a dead one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _record(number: int) -> str:
    return f"{FOLDER}/{number:06d}.json"


def _beat(number: int) -> str:
    return f"{FOLDER}/{number:06d}.beat.json"


def _last_beat(store: Store, number: int) -> Beat:
    return store.find_record(_beat(number), Beat) or Beat()


def _numbers(store: Store) -> list[int]:
    names = (name.removesuffix(".json") for name in store.children(FOLDER))
    return sorted(int(name) for name in names if name.isdigit())


def _newest(store: Store) -> int:
    return max(_numbers(store), default=0)
