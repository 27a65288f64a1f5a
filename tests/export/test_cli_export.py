"""`raykd export` as a user meets it."""

import json

import pytest
from support.finished_sweeps import LABEL

from raykd.cli import main


def refused(capsys, *command: object, code: int = 2) -> str:
    assert main([str(each) for each in ("export", *command)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_an_export_says_what_was_written_checked_and_comes_next(sweep, tmp_path, capsys):
    out = tmp_path / "home"
    assert main(["export", str(sweep("qa")), str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"exported: {LABEL} (") and lines[0].endswith(f" to {out}")
    assert (
        lines[1] == "checked: plain transformers gives the same output, on 8 examples; largest difference of a logit: 0"
    )
    assert lines[2:] == [f"next: raykd predict {out}"]


def test_json_holds_the_same(sweep, tmp_path, capsys):
    assert main(["export", str(sweep("qa")), str(tmp_path / "home"), "--json", "--point", LABEL]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["label"] == LABEL and said["checks"] == {"transformers": {"num_examples": 8, "difference": 0.0}}
    assert said["pushed"] is None and (tmp_path / "home" / "config.json").is_file()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--private"], "--private has no effect without --push"),
        (["--push", "a/b/c"], "--push a/b/c"),
        (["--point", "skd seed=7"], "nearest are 'skd seed=1'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(sweep, tmp_path, capsys, options, line):
    assert line in refused(capsys, sweep("qa"), tmp_path / "home", *options)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_taken_and_one_without_a_sweep_are_refused(sweep, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    results = sweep("qa")
    capsys.readouterr()
    assert "exists and is not empty" in refused(capsys, results, tmp_path)
    assert "not a results folder" in refused(capsys, tmp_path / "none", tmp_path / "home")
