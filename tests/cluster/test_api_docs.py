"""The examples of docs/api.md are one program, which runs as it stands there."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.cluster


def test_the_examples_of_the_python_api_run_in_their_order(tmp_path):
    text = (DOCS / "api.md").read_text()
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert len(blocks) == 7
    known: dict = {}
    for block in blocks:
        # Line numbers of a traceback are those of the page.
        lines = "\n" * text.count("\n", 0, block.start(1)) + block[1]
        exec(compile(lines, "docs/api.md", "exec"), known)
    assert (tmp_path / "runs/first/sweep.json").exists()
