"""The rooms of the house: who imports whom, and who may know what."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "raykd"
FILES = sorted(ROOT.rglob("*.py"))

ROWS = (
    {"__main__"},
    {"cli"},
    {"api", "doctor"},
    {"sweep", "submit", "export"},
    {"executors", "report", "status", "predict", "trackers"},
    {"worker"},
    {"plan"},
    {"results"},
    {"tasks", "starters"},
    {"objectives", "models", "data"},
    {"config"},
    {"storage", "reasons"},
    {"errors"},
    {"__init__"},
)
"""From top to bottom. A module imports only from the rows below its own; inside a package it is free."""

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
    "fsspec": {"storage", "reasons"},
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
) | {"report.build": HEAVY, "report.page": HEAVY, "sweep": MODELS, "executors.choice": MODELS}
"""Modules that answer at once, and what importing them does not load."""


def module_of(path: Path) -> str:
    """`raykd/tasks/qa/learning.py` -> `tasks.qa`, `raykd/config/__init__.py` -> `config`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(module: str) -> str:
    return module.partition(".")[0]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """Full names of all modules that import statements name, and of what is imported out of them."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole module"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imports(path: Path) -> set[str]:
    """What a module imports, inside its functions too."""
    return imported(ast.walk(tree_of(path)))


def imports_at_once(path: Path) -> set[str]:
    """What importing a module imports: what is inside functions and for type checkers is left out."""
    body = tree_of(path).body
    guarded = [
        inner
        for node in body
        if isinstance(node, (ast.If, ast.Try)) and "TYPE_CHECKING" not in ast.unparse(node).split("\n")[0]
        for inner in node.body
    ]
    return imported([*body, *guarded])


def own(names: set[str]) -> set[str]:
    """The modules of ours among imported names, without the package's name."""
    known = {module_of(path) for path in FILES}
    ours = {name.removeprefix("raykd.") for name in names if name.startswith("raykd.")}
    return {name for name in ours if name in known} | ({"__init__"} if "raykd" in names else set())


def knows(names: set[str], library: str) -> bool:
    return any(name == library or name.startswith(f"{library}.") for name in names)


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
