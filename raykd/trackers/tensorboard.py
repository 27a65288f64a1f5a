"""Files for TensorBoard, one for each point, in the folder `tensorboard` of the results.

A file is a function of the journal alone, so nothing has to be remembered about it: what is there is completed, and
replaced where an epoch was repeated with other numbers. In a folder it grows at its end, which is where a TensorBoard
that shows it goes on reading; to an object store it is written whole.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import hparams, scalar, text

from raykd.results.artifacts import Store
from raykd.results.words import file_name
from raykd.trackers.run import TrackedPoint

FOLDER = "tensorboard"


class TensorBoard:
    """Keeps the files of a store."""

    name, place = "tensorboard", FOLDER

    def __init__(self, store: Store) -> None:
        self.store = store

    def write(self, run: TrackedPoint, *, told: int) -> None:
        """Bring a point's file up to date."""
        events = list(_events(run))
        name = f"{FOLDER}/{_folder_name(run)}/events.out.tfevents.{run.point}"
        if not events:
            # It may have failed before its first epoch, and have begun again.
            self.store.remove(name)
            return
        content, there = _encoded(events), self.store.find(name) or b""
        if there == content:
            return
        if there and self.store.is_local and content.startswith(there):
            with (self.store.root / name).open("ab") as file:
                file.write(content[len(there) :])
        else:
            self.store.write(name, content)

    def close(self) -> None:
        """Nothing is open."""


def _folder_name(run: TrackedPoint) -> str:
    """What TensorBoard calls the run: its label, and the id, which tells labels apart that look the same."""
    return f"{file_name(run.label, also='=,+')[:100]}-{run.point}"


def _events(run: TrackedPoint) -> Iterator[Event]:
    """What a file holds, in an order in which more of it only ever comes at the end."""
    if not run.epochs and not run.is_over:
        return
    begun = run.epochs[0].time if run.epochs else run.time
    yield Event(wall_time=begun, file_version="brain.Event:2")
    described = "\n".join(f"    {name}: {value}" for name, value in run.tags.items() if name != "raykd.generation")
    yield Event(wall_time=begun, step=0, summary=text("raykd", described))
    for epoch in run.epochs:
        for name, value in epoch.metrics.items():
            yield Event(wall_time=epoch.time, step=epoch.number, summary=scalar(name, value))
    if run.is_over:
        yield from _last_events(run)


def _last_events(run: TrackedPoint) -> Iterator[Event]:
    summaries: list[Summary] = [scalar(name, value) for name, value in run.final.items()]
    if run.final:
        shown = {name: value for name, value in run.final.items() if name.count("/") == 1}
        summaries += hparams({"method": run.method, **run.params}, shown)
    summaries.append(text("status", ": ".join(filter(None, (run.status, run.error)))))
    for summary in summaries:
        yield Event(wall_time=run.time, step=len(run.epochs), summary=summary)


def _encoded(events: list[Event]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        writer = RecordWriter(str(path))
        for event in events:
            writer.write(event.SerializeToString(deterministic=True))
        writer.close()
        return path.read_bytes()
