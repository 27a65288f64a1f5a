"""The docs say what is so: references are fresh, links lead somewhere, messages are real, commands run."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from support.inline_sweep import run_inline
from support.reference_pages import FOLDER, PAGES
from support.tiny_sweeps import sweep

from raykd.cli import main, parser
from raykd.config.keys import point_keys
from raykd.plan.file import load_sweep
from raykd.plan.points import make_plan
from raykd.plan.sweep import SweepKeys
from raykd.tasks import TASKS
from raykd.tasks.parallel.config import ZeroShotConfig

ROOT = Path(__file__).parents[1]
DOCS = sorted(
    [ROOT / "README.md", ROOT / "cluster" / "README.md", ROOT / "sweeps" / "README.md", *ROOT.glob("docs/**/*.md")]
)
SHELLS = ("", "bash", "console")
NOT_RUN = {
    "sweep": "starts Ray and trains: tests/cluster",
    "submit": "needs a cluster: tests/cluster/test_submit.py",
    "stop": "needs a cluster: tests/cluster/test_submit.py",
    "doctor": "looks at this machine, whatever is wrong with it: tests/doctor",
}
"""Commands that are only parsed, and who runs them."""
NOT_HERE = ("fewshot-cpu", "s3://", "/shared/", "/tmp/")
"""What a line names that is not in the repository: data that is downloaded, results of long runs."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(Language, text) of each fenced block."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """The `raykd` command lines of a page, without their comments."""
    lines = [line for language, text in blocks(page) if language in SHELLS for line in text.splitlines()]
    found = [line.strip().removeprefix("$ ") for line in lines]
    return [line for line in found if line.startswith("raykd ")]


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_what_the_program_says(name):
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def keys_of_page() -> dict[str, str]:
    """Each dotted key that the page of keys has a row for -> the tasks that it names."""
    sections = re.split(r"^## ", PAGES["sweep-keys.md"](), flags=re.MULTILINE)[1:]
    found = {}
    for section in sections:
        title, _, rows = section.partition("\n")
        prefix = f"{title.strip('`')}." if title.startswith("`") else ""
        found |= {prefix + key: tasks for key, tasks in re.findall(r"^\| `(\w+)` \| ([\w, ]+) \|", rows, re.MULTILINE)}
    return found


def test_every_key_has_a_row_that_names_the_tasks_that_have_it():
    expected = {key: list(TASKS) for key in point_keys(SweepKeys)}
    for name, task in TASKS.items():
        for key in point_keys(task.point):
            expected.setdefault(key, []).append(name)
    expected["task"] = list(TASKS)
    found = {key: list(TASKS) if tasks == "all" else tasks.split(", ") for key, tasks in keys_of_page().items()}
    assert {key: tasks for key, tasks in found.items() if ".NAME" not in key} == expected
    assert len(expected) > 150
    of_names = {key for key in found if key.startswith("selection.zero_shot.NAME.")}
    assert of_names == {f"selection.zero_shot.NAME.{key}" for key in point_keys(ZeroShotConfig)}


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_a_link_leads_to_a_file_of_the_repository(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_every_page_is_reached_from_the_index():
    pages = {path for path in DOCS if path.is_relative_to(ROOT / "docs")}
    index = ROOT / "docs" / "index.md"
    links = re.findall(r"\]\(([^)#\s]+)", index.read_text(encoding="utf-8"))
    assert pages - {(index.parent / link).resolve() for link in links} == {index}


SWEEP_FILES = [
    (f"{name_of(page)}-{number}", text)
    for page in DOCS
    for number, (language, text) in enumerate(blocks(page))
    if language == "yaml" and text.startswith("name:")
]


@pytest.mark.parametrize("text", [text for _, text in SWEEP_FILES], ids=[name for name, _ in SWEEP_FILES])
def test_a_sweep_file_that_is_shown_can_be_read_and_has_points(text, tmp_path):
    (tmp_path / "sweep.yaml").write_text(text, encoding="utf-8")
    assert make_plan(load_sweep(tmp_path / "sweep.yaml")).points


@cache
def literals() -> tuple[str, ...]:
    """Every text of the program; what is put into it is an ellipsis."""
    found = []
    for path in sorted((ROOT / "raykd").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)


MESSAGES = re.findall(r"^### `(.+)`$", (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_troubleshooting_page_is_one_that_the_program_has(message):
    pattern = re.compile(".*?".join(re.escape(piece) for piece in message.split("…")), re.DOTALL)
    assert any(pattern.search(text) for text in literals())


def test_there_are_messages_to_look_for():
    assert len(MESSAGES) > 30


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with a finished sweep in `runs/quickstart`."""
    folder = tmp_path_factory.mktemp("docs")
    changed = {
        "methods": {"ce": {"distillation": {"kd_weight": 0}}},
        "search": {"space": {"data.budget": {"grid": [16]}}},
    }
    keys = sweep(name="quickstart", lineage={"num_generations": 1}, selection={"max_items": 2, "split": 0.5}, **changed)
    run_inline(keys, folder / "runs" / "quickstart")
    # What the sweep file of the README leaves behind.
    (folder / "runs" / "qa").symlink_to("quickstart")
    return folder


def only_parsed(line: str) -> bool:
    return line.split()[1] in NOT_RUN or any(part in line for part in NOT_HERE)


@pytest.mark.parametrize("page", [page for page in DOCS if commands(page)], ids=name_of)
def test_the_commands_of_a_page_are_understood(page):
    for line in commands(page):
        words = shlex.split(line, comments=True)[1:]
        parser().parse_args(words[: words.index("--")] if "--" in words else words)
        files = [word for word in words if word.startswith("sweeps/")]
        assert [word for word in files if not (ROOT / word).is_file()] == []


@pytest.mark.parametrize("page", [page for page in DOCS if not all(map(only_parsed, commands(page)))], ids=name_of)
def test_the_commands_of_a_page_run(page, finished, tmp_path, monkeypatch, capsys):
    (tmp_path / "sweeps").symlink_to(ROOT / "sweeps")
    (tmp_path / "runs").symlink_to(finished / "runs")
    (tmp_path / "questions.tsv").write_text("Who wrote the book?\tAda Marlow wrote the book in 1843.\n")
    more = {"source": {"builtin": "small-world", "num_items": 9, "share": [0.5, 1]}, "languages": ["en"]}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"tests": {"more": more}}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for line in commands(page):
        if not only_parsed(line):
            assert main(shlex.split(line, comments=True)[1:]) == 0, f"{line}: {capsys.readouterr().err}"
            assert capsys.readouterr().out.strip(), f"{line} says nothing"
