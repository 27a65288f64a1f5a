"""The way of the README: the quickstart as it is shipped, its report in a browser, its best model taken home."""

import json
from pathlib import Path

import pytest
from support.browser import DESKTOP, PHONE, browser, is_no_wider_than_the_screen, opened
from support.plain_python import elsewhere

from raykd.cli import main
from raykd.report.leaderboard import leaderboard

pytestmark = pytest.mark.cluster

SWEEPS = Path(__file__).parents[2] / "sweeps"


def test_the_quickstart_is_run_read_in_a_browser_and_taken_home(tmp_path, capsys):
    assert main(["sweep", str(SWEEPS / "quickstart.yaml")]) == 0
    root = Path("runs/quickstart")
    best, *others = [row for row in leaderboard(root).rows if row.num_seeds]
    assert "12 finished" in capsys.readouterr().out
    assert best.mean["gxlt_f1"] > 2 * min(row.mean["gxlt_f1"] for row in others)

    assert main(["report", str(root)]) == 0
    file = (root / "report.html").resolve()
    assert file.stat().st_size < 5 * 2**20
    with browser() as chromium:
        for size in (PHONE, DESKTOP):
            with opened(chromium, file, size) as page:
                assert (page.said, page.asked) == ([], [])
                assert page.locator("h1").inner_text() == "quickstart"
                assert page.locator(".picture svg").count() >= 20
                assert is_no_wider_than_the_screen(page)

    assert main(["export", str(root), "home"]) == 0
    loads = (
        "from transformers import AutoModelForQuestionAnswering as A\nprint(type(A.from_pretrained('home')).__name__)"
    )
    assert elsewhere(loads, folder=tmp_path).splitlines()[-1] == "BertForQuestionAnswering"
    capsys.readouterr()
    questions = [{"question": "Where was Ada born?", "context": "Ada was born in Lund. She died in Rome."}]
    Path("questions.jsonl").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    assert main(["predict", "home", "questions.jsonl", "--json"]) == 0
    [answered] = json.loads(capsys.readouterr().out)
    assert answered["answers"][0]["text"] in questions[0]["context"]
