"""A sweep that loses workers, nodes, drivers and heads at random moments ends as if nothing had happened."""

import os
import random
import threading
import time
from pathlib import Path

import pytest
from support.faulty_sweep import FAULTS, SweepJob, small_quickstart
from support.ray_cluster import until

from raykd.results.journal import Journal

SEED = int(os.environ.get("RAYKD_CHAOS_SEED", "1"))
IMPATIENCE = 0.25
"""How often a fault does not wait until the job got on: else it hits training and hardly ever what comes before."""


def dozen_points(num_generations: int) -> dict:
    """Ten points that train inside trial processes, and two that train in worker groups."""
    methods = {f"skd-{value}": {"distillation": {"temperature": value}} for value in (1, 2, 4, 8, 16)}
    methods["skd-16"]["compute"] = {"executor": "train"}
    methods["ce"] = {"distillation": {"kd_weight": 0}}
    # How often a point may be hit is not what is asked here.
    return small_quickstart(
        methods=methods, seeds=[1, 2], lineage={"num_generations": num_generations}, search={"max_attempts": 100}
    )


class Completions(threading.Thread):
    """Notes from outside how often each point's training was recorded as complete."""

    def __init__(self, results: Path, num_generations: int) -> None:
        super().__init__(daemon=True)
        self.results, self.num_generations = results, num_generations
        self.seen: dict[str, set[tuple[int, int]]] = {}
        self.is_done = threading.Event()

    def run(self) -> None:
        while not self.is_done.wait(0.1):
            self.look()

    def look(self) -> None:
        """A record that is written again is another file at another time."""
        for path in self.results.glob("points/*/generations.json"):
            found = path.stat()
            recorded = Journal.at(self.results).points.generations(path.parent.name)
            if len(recorded) == self.num_generations:
                self.seen.setdefault(path.parent.name, set()).add((found.st_ino, found.st_mtime_ns))

    def counts(self) -> list[int]:
        """How often, for each point that was completed."""
        self.is_done.set()
        self.join()
        self.look()
        return [len(times) for times in self.seen.values()]


def disturb(job: SweepJob, chance: random.Random, num_faults: int) -> list[str]:
    """Let faults happen at random moments, submitting the command again where one ended the job.

    Returns:
        Each of them with its time; fewer than asked for where the sweep was finished before.
    """
    happened, started = [], time.monotonic()
    while len(happened) < num_faults:
        if job.is_over():
            if job.status() == "SUCCEEDED":
                break
            job.submit()
        before = job.num_epochs()
        if chance.random() >= IMPATIENCE:
            until(lambda before=before: job.num_epochs() > before or job.is_over(), "progress", seconds=120)
        time.sleep(chance.uniform(0, 6))
        if job.is_over():
            continue
        name, at = chance.choice(sorted(FAULTS)), time.monotonic() - started
        hit = FAULTS[name](job, chance)
        if job.status() != "SUCCEEDED":
            happened.append(f"{at:6.1f} s  {name}: {hit}; {job.num_epochs()} epochs done")
            print(happened[-1], flush=True)
    return happened


@pytest.mark.parametrize(
    ("num_faults", "num_generations"),
    [
        pytest.param(3, 4, marks=[pytest.mark.cluster, pytest.mark.timeout(600)], id="short"),
        pytest.param(20, 32, marks=[pytest.mark.chaos, pytest.mark.timeout(3600)], id="long"),
    ],
)
def test_a_sweep_survives_whatever_is_killed(cluster, tmp_path, num_faults, num_generations):
    keys, chance = dozen_points(num_generations), random.Random(SEED)
    print(f"\nseed {SEED} (RAYKD_CHAOS_SEED), {num_faults} faults")
    undisturbed = SweepJob(cluster, tmp_path / "undisturbed", keys)
    undisturbed.finish(attempts=1)

    job = SweepJob(cluster, tmp_path / "disturbed", keys)
    completions = Completions(job.results, num_generations)
    completions.start()
    job.submit()
    happened = disturb(job, chance, num_faults)
    job.finish()

    assert len(happened) == num_faults, "the sweep was finished before: give it more generations"
    assert job.outcome() == undisturbed.outcome()
    assert completions.counts() == [1] * 12
    print(f"{len(happened)} faults, {job.num_submitted} submissions")
