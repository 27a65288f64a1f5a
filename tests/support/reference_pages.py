"""The reference pages of the docs, made of what the program itself says: `make docs` writes them.

python tests/support/reference_pages.py
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.cli import parser
from raykd.plan.sweep import SweepKeys
from raykd.tasks import DEFAULT_TASK, TASKS
from raykd.tasks.task import Task

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
        lines += ["```console", *_examples(command), "```", ""]
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


def _examples(command: argparse.ArgumentParser) -> list[str]:
    """The command lines at the end of a command's help."""
    return [line.strip() for line in (command.epilog or "").splitlines()[1:]]


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
    """Every key of a sweep file, section by section, with the tasks that have it."""
    lines = ["# Keys of a sweep file", "", MADE, ""]
    lines += [
        "Keys stand in their section: `distillation.temperature` is `temperature` below `distillation`. Any key of a "
        "point may be searched under that name, and changed by a method. A key that no section knows is an error, and "
        "so is one that belongs to another task; the column `task` says which tasks have a key. What differs between "
        "tasks follows the task's name. `raykd schema` prints all of this as a JSON schema, for editors.",
        "",
    ]
    lines += _section({name: _whole_file(task) for name, task in TASKS.items()}, "", "The top level")
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True)
class _Section:
    """A section of a file of one task: its schema, and all definitions that it may refer to."""

    schema: Mapping[str, Any]
    known: Mapping[str, Any]


def _whole_file(task: Task) -> _Section:
    """The keys of a task's points, and those of the whole sweep beside them."""
    point, sweep = task.point.model_json_schema(), SweepKeys.model_json_schema()
    described = {name: each.point.model_fields["task"].description for name, each in TASKS.items()}
    chosen = {
        "enum": list(TASKS),
        "default": DEFAULT_TASK,
        "description": "What is learned. " + " ".join(f"`{name}`: {text}" for name, text in described.items()),
    }
    properties = {**point["properties"], "task": chosen, **sweep["properties"]}
    properties["preset"] = {**properties["preset"], "anyOf": [{"enum": list(task.presets)}, {"type": "null"}]}
    schema = {"properties": properties, "required": [*point["required"], *sweep["required"]]}
    return _Section(schema, point["$defs"] | sweep["$defs"])


def _section(of_tasks: Mapping[str, _Section], path: str, title: str) -> list[str]:
    """A section with a row for each key that some task has in it, and the sections that stand in it."""
    described = _by_task({task: _line(each.schema.get("description", "")) for task, each in of_tasks.items()})
    lines = [f"## {title}", "", *([described, ""] if path else [])]
    lines += ["| key | task | values | default | meaning |", "|---|---|---|---|---|"]
    inner: list[str] = []
    for name in _in_order([list(each.schema["properties"]) for each in of_tasks.values()]):
        having = {task: each for task, each in of_tasks.items() if name in each.schema["properties"]}
        targets = {
            task: _Section(found, each.known)
            for task, each in having.items()
            if (found := _only_section(each.schema["properties"][name], each.known))
        }
        cells = [_cells(name, each, targets.get(task), f"{path}{name}") for task, each in having.items()]
        tasks = "all" if len(having) == len(TASKS) else ", ".join(having)
        rest = (_by_task(dict(zip(having, column, strict=True))) for column in zip(*cells, strict=True))
        lines.append(f"| {' | '.join(map(_cell, (f'`{name}`', tasks, *rest)))} |")
        if targets:
            inner += ["", *_section(targets, f"{path}{name}.", f"`{path}{name}`")]
        named = {
            task: _Section(found, each.known)
            for task, each in having.items()
            if (found := _section_of_each_name(each.schema["properties"][name], each.known))
        }
        if named:
            inner += ["", *_section(named, f"{path}{name}.NAME.", f"`{path}{name}.NAME`")]
    return [*lines, *inner]


def _cells(name: str, section: _Section, target: _Section | None, key: str) -> tuple[str, str, str]:
    """Values, default and meaning of a key in a section of one task."""
    field, known = section.schema["properties"][name], section.known
    text = field.get("description") or (target.schema.get("description", "") if target else "")
    is_required = name in section.schema.get("required", ())
    values = f"a [section](#{_anchor(key)})" if target else _values(field, known)
    return values, "required" if is_required else _default(field, has_section=target is not None), _line(text)


def _by_task(texts: Mapping[str, str]) -> str:
    """A text that all tasks have in common, or each text behind the names of its tasks."""
    tasks: dict[str, list[str]] = {}
    for task, text in texts.items():
        tasks.setdefault(text, []).append(task)
    if len(tasks) == 1:
        return next(iter(tasks))
    return " ".join(f"**{', '.join(names)}**: {text or '-'}" for text, names in tasks.items())


def _in_order(columns: Sequence[Sequence[str]]) -> list[str]:
    """All names of some lists, each behind the one that it follows in the first list that has it."""
    found: list[str] = []
    for names in columns:
        at = 0
        for name in names:
            if name in found:
                at = found.index(name) + 1
                continue
            while at < len(found) and found[at] not in names:
                at += 1
            found.insert(at, name)
            at += 1
    return found


def _only_section(field: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The section that a key holds, if it holds nothing else but null."""
    arms = [arm for arm in field.get("anyOf", [field]) if arm.get("type") != "null"]
    if len(arms) != 1 or "$ref" not in arms[0]:
        return None
    target = _target(arms[0], known)
    return target if target.get("properties") else None


def _section_of_each_name(field: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The section behind each name, of a key that holds sections under names of the file's own."""
    inner = field.get("additionalProperties")
    return _only_section(inner, known) if isinstance(inner, Mapping) else None


def _target(field: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    return known[field["$ref"].removeprefix("#/$defs/")]


def _default(field: Mapping[str, Any], *, has_section: bool) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    return "" if has_section and value is not None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _values(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(filter(None, dict.fromkeys(_values(arm, known) for arm in field["anyOf"])))
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
