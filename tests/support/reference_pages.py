"""The reference pages of the docs, made of what the program itself says: `make docs` writes them.

python tests/reference.py
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raykd.starters import TASKS

from raykd.cli import parser
from raykd.plan.sweep import SweepConfig

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
MADE = "<!-- Made by `make docs`; change the help text or the docstring under the key instead. -->"


def commands_page() -> str:
    """Every command with its options."""
    lines = ["# Commands", "", MADE, ""]
    lines += ["Exit codes: 0 done, 1 something failed while it ran, 2 refused before anything started.", ""]
    for name, command, text in _commands():
        positional = [action for action in command._actions if not action.option_strings]
        options = [action for action in command._actions if action.option_strings and action.dest != "help"]
        words = ["raykd", name, *map(_shown, positional), *(["[options]"] if options else [])]
        lines += [f"## {' '.join(words[:2])}", "", f"{text[:1].upper()}{text[1:]}.", ""]
        lines += ["```text", " ".join(words), "```", ""]
        if positional or options:
            lines += ["| argument | meaning |", "|---|---|"]
            lines += [f"| `{_described(action)}` | {_cell(_help(action))} |" for action in (*positional, *options)]
            lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def _commands() -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    (group,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    texts = {choice.dest: choice.help or "" for choice in group._choices_actions}
    for name, command in group.choices.items():
        yield name, command, texts.get(name, "")


def _shown(action: argparse.Action) -> str:
    name = "{" + ",".join(action.choices) + "}" if action.choices else action.metavar or action.dest.upper()
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}.get(action.nargs or "", str(name))


def _described(action: argparse.Action) -> str:
    if not action.option_strings:
        return _shown(action)
    value = "" if action.nargs == 0 else f" {_shown(action)}"
    return ", ".join(f"{option}{value}" for option in action.option_strings)


def _help(action: argparse.Action) -> str:
    return (action.help or "") % vars(action) if "%(" in (action.help or "") else action.help or ""


def sweep_keys_page() -> str:
    """Every key of a sweep file, section by section."""
    schema = SweepConfig.model_json_schema()
    lines = ["# Keys of a sweep file", "", MADE, ""]
    lines += [
        "Keys stand in their section: `distillation.temperature` is `temperature` below `distillation`. Any key of a "
        "point may be searched under that name, and changed by a method. A key that no section knows is an error, and "
        "so is one that belongs to another task. `raykd schema` prints all of this as a JSON schema, for editors.",
        "",
    ]
    lines += _section(schema, schema["$defs"], "", "The top level")
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Mapping[str, Any], known: Mapping[str, Any], path: str, title: str) -> list[str]:
    lines = [f"## {title}", "", *([f"{_line(section['description'])}", ""] if path else [])]
    lines += ["| key | values | default | meaning |", "|---|---|---|---|"]
    inner: list[str] = []
    required = section.get("required", ())
    for name, field in section["properties"].items():
        key = f"{path}{name}"
        target = _only_section(field, known)
        text = field.get("description") or (target or {}).get("description", "")
        only = _tasks_of(key)
        said = only == _tasks_of(path.removesuffix("."))
        meaning = _line(text) + ("" if said else f" ({' and '.join(only)} only)")
        default = "required" if name in required else _default(field, target)
        values = f"a [section](#{_anchor(key)})" if target else _values(field, known)
        lines.append(f"| `{name}` | {_cell(values)} | {_cell(default)} | {_cell(meaning)} |")
        if target:
            inner += ["", *_section(target, known, f"{key}.", f"`{key}`")]
    return [*lines, *inner]


def _only_section(field: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The section that a key holds, if it holds nothing else but null."""
    arms = [arm for arm in field.get("anyOf", [field]) if arm.get("type") != "null"]
    if len(arms) != 1 or "$ref" not in arms[0]:
        return None
    target = _target(arms[0], known)
    return target if target.get("properties") else None


def _target(field: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    return known[field["$ref"].removeprefix("#/$defs/")]


def _tasks_of(key: str) -> list[str]:
    """The tasks that have a key; empty if all have."""
    have = [task for task in TASKS if not any(key == name or key.startswith(f"{name}.") for name in foreign(task))]
    return have if len(have) < len(TASKS) else []


def _default(field: Mapping[str, Any], target: Mapping[str, Any] | None) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    return "" if target and value is not None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _values(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_values(arm, known) for arm in field["anyOf"]))
    if "$ref" in field:
        target = _target(field, known)
        return "{" + ", ".join(f"`{name}`" for name in target["properties"]) + "}"
    for name in ("enum", "const"):
        if name in field:
            values = field[name] if name == "enum" else [field[name]]
            return ", ".join(f"`{value}`" for value in values)
    kind = field.get("type")
    if kind == "array":
        items = field.get("prefixItems")
        return (
            f"[{', '.join(_values(item, known) for item in items)}]"
            if items
            else f"list of {_values(field['items'], known)}"
        )
    if kind == "object":
        return "keys with values"
    words = {"integer": "integer", "number": "number", "boolean": "`true`, `false`", "null": "`null`"}
    bounds = [f"{sign} {field[name]:g}" for name, sign in _BOUNDS.items() if name in field]
    return " ".join([words.get(kind or "", "text"), *bounds])


_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def _anchor(key: str) -> str:
    """As GitHub makes it of a heading."""
    return key.replace(".", "").lower()


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES = {"commands.md": commands_page, "sweep-keys.md": sweep_keys_page}
"""File -> what makes its text."""


def main() -> None:
    """Write all pages."""
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
