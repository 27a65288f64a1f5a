"""Processes of their own that do the same thing at the same time."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raykd.results.artifacts import Store

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
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(RACERS), context.Queue()
    racers = [context.Process(target=_run, args=(task, arguments, barrier, answers)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    found = [answers.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(60)
    return found


def _run(task: Callable[..., Any], arguments: tuple[Any, ...], barrier: Any, answers: Any) -> None:
    answers.put(task(*arguments, lambda: barrier.wait(60)))
