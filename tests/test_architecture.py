"""The rooms of the house: who imports whom, and who may know what."""

import ast
import re

import pytest
from support.rooms import FILES, ROWS, imports, imports_at_once, knows, module_of, own, room_of, tree_of

from raykd.tasks import TASKS

ONLY_IN = {
    "ray.tune": {"sweep"},
    "ray.train": {"executors"},
    "ray": {"sweep", "executors", "submit", "doctor"},
    "deepspeed": {"worker.engine"},
    "transformers": {"models", "tasks", "data"},
    "datasets": {"data"},
    "tokenizers": {"data"},
    "huggingface_hub": {"data", "results", "export"},
    "onnxruntime": {"export"},
    "fsspec": {"storage", "reasons", "data.addresses"},
    "rich": {"cli"},
    "yaml": {"config"},
    "mlflow": {"trackers"},
    "wandb": {"trackers"},
    "tensorboardX": {"trackers"},
    "pandas": {"api", "report"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
}
"""A library, or a part of one, and the rooms or modules that may know it."""

HEAVY = {"ray", "torch", "deepspeed", "transformers", "datasets", "tokenizers", "safetensors", "pandas"}
MODELS = HEAVY - {"ray", "pandas"}
DRAWING = {"scipy", "matplotlib", "jinja2"}

LIGHT = dict.fromkeys(
    (
        "cli",
        "api",
        "plan.points",
        "worker.lineage",
        "results.journal",
        "results.records",
        "report.leaderboard",
        "status",
        "config",
        "errors",
        "results.artifacts",
    ),
    HEAVY | DRAWING,
) | {"report.build": HEAVY, "report.page": HEAVY, "report.race": HEAVY, "sweep": MODELS, "executors.choice": MODELS}
"""Modules that answer at once, and what importing them does not load."""


def test_every_room_has_its_row():
    rooms = {room_of(module_of(path)) for path in FILES}
    placed = [room for row in ROWS for room in row]
    assert sorted(placed) == sorted(rooms), "give a room that is new a row in ROWS, and take one that is gone out of it"


def test_modules_import_only_from_rows_below_theirs():
    level = {room: number for number, row in enumerate(ROWS) for room in row}
    wrong = {
        f"{module_of(path)} -> {other}"
        for path in FILES
        for other in own(imports(path))
        if room_of(other) != room_of(module_of(path)) and level[room_of(other)] <= level[room_of(module_of(path))]
    }
    assert wrong == set()


def test_libraries_are_known_only_where_they_should_be():
    wrong = {
        f"{module_of(path)} knows {library}"
        for library, places in ONLY_IN.items()
        for path in FILES
        if knows(imports(path), library) and not {module_of(path), room_of(module_of(path))} & places
    }
    assert wrong == set()


@pytest.mark.parametrize(("module", "heavy"), LIGHT.items(), ids=LIGHT)
def test_a_light_module_loads_nothing_heavy(module, heavy):
    paths = {module_of(path): path for path in FILES}
    waiting, loaded = [module], set()
    while waiting:
        name = waiting.pop()
        if name in loaded:
            continue
        loaded.add(name)
        names = imports_at_once(paths[name])
        assert {each for each in heavy if knows(names, each)} == set(), f"{module} loads {name}, which loads them"
        # A package is loaded before its modules.
        waiting += [part for other in own(names) for part in (other, room_of(other)) if part in paths]


def test_one_module_alone_touches_the_private_modules_of_ray():
    private = re.compile(r"\bray(\.\w+)*\.(_(?!_)|core\.generated)")
    wrong = {module_of(path) for path in FILES if private.search(path.read_text(encoding="utf-8"))}
    assert wrong == {"executors.ray_internals"}


def test_only_the_command_line_prints_or_exits():
    wrong = []
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in {"print", "exit", "quit", "sys.exit", "os._exit", "SystemExit", "input"}:
                wrong.append((module_of(path), called))
    assert {room_of(module) for module, _ in wrong} <= {"cli"}, wrong


def test_no_module_catches_every_exception():
    wrong = [
        module_of(path)
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    ]
    assert wrong == []


def test_the_name_of_a_task_stands_in_tasks_alone():
    wrong = [
        f"{module_of(path)}:{node.lineno}: {node.value}"
        for path in FILES
        if room_of(module_of(path)) != "tasks"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and node.value in TASKS
    ]
    assert wrong == []
