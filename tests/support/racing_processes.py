"""Processes of their own that do the same thing at the same time."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raykd.results.artifacts import Store
from support.forked import CONTEXT

RACERS, ROUNDS = 3, 30


def winners(root: Path | str) -> list[int]:
    """The rounds in which a racer created that round's file, once for each that did."""
    return sorted(turn for turns in _together(_create, root) for turn in turns)


def copies(root: str, name: str) -> set[tuple[str, int]]:
    """Paths and inodes of what the racers fetched."""
    return set(_together(_fetch, root, name))


def _create(root: Path | str, wait: Callable[[], Any]) -> list[int]:
    store, won = Store(root), []
    for turn in range(ROUNDS):
        wait()
        try:
            store.create_json(f"race/{turn}.json", {"racer": "the same words"})
            won.append(turn)
        except FileExistsError:
            continue
    return won


def _fetch(root: str, name: str, wait: Callable[[], Any]) -> tuple[str, int]:
    wait()
    path = Store(root).fetch(name)
    return str(path), path.stat().st_ino


def _together(task: Callable[..., Any], *arguments: Any) -> list[Any]:
    barrier, answers = CONTEXT.Barrier(RACERS), CONTEXT.Queue()
    racers = [
        CONTEXT.Process(target=_run, args=(dict(os.environ), task, arguments, barrier, answers)) for _ in range(RACERS)
    ]
    for racer in racers:
        racer.start()
    found = [answers.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(60)
    return found


def _run(
    environment: dict[str, str], task: Callable[..., Any], arguments: tuple[Any, ...], barrier: Any, answers: Any
) -> None:
    os.environ.update(environment)
    answers.put(task(*arguments, lambda: barrier.wait(60)))
