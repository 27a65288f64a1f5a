"""The rooms of the code: which module imports which. `python -m support.rooms` in tests/ prints them, top row first."""

import ast
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2] / "raykd"
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
    {"tasks"},
    {"objectives", "models", "data"},
    {"config"},
    {"storage", "reasons"},
    {"errors", "waits"},
    {"__init__"},
)
"""From top to bottom. A module imports only from the rows below its own; inside a package it is free."""


def module_of(path: Path) -> str:
    """`raykd/tasks/qa/learning.py` -> `tasks.qa`, `raykd/config/__init__.py` -> `config`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(module: str) -> str:
    return module.partition(".")[0]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(nodes: Iterable[ast.AST]) -> set[str]:
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


def arrows() -> Counter[tuple[str, str]]:
    """(room, room that it imports) -> how many modules of the one import from the other."""
    found: Counter[tuple[str, str]] = Counter()
    for path in FILES:
        room = room_of(module_of(path))
        found.update((room, other) for other in {room_of(module) for module in own(imports(path))} - {room})
    return found


def main() -> None:
    """Print every room with its lines and what it imports, and how many rooms and arrows there are."""
    lines: Counter[str] = Counter()
    for path in FILES:
        lines[room_of(module_of(path))] += len(path.read_text(encoding="utf-8").splitlines())
    found = arrows()
    for row in ROWS:
        for room in sorted(row):
            below = sorted(other for one, other in found if one == room and other != "__init__")
            print(f"{room:12} {lines[room]:6,} lines -> {', '.join(below) or '-'}")
    print(f"{len(lines)} rooms, {len(found)} arrows")


if __name__ == "__main__":
    main()
