import subprocess

import pytest

from raykd.results.sweep import Commit
from raykd.sweep.provenance import commit


def git(folder, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path):
    """A folder of a repository, with one commit."""
    git(tmp_path, "init", "-q")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text("name: mine\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path / "sweeps"


def test_the_commit_is_that_of_the_folder_s_repository(folder):
    assert commit(folder) == Commit(git(folder, "rev-parse", "HEAD"), changed=False)


def test_a_tracked_file_that_differs_is_said_and_an_untracked_one_is_not(folder):
    (folder / "notes").write_text("untracked")
    assert commit(folder).changed is False
    (folder / "mine.yaml").write_text("name: yours\n")
    assert commit(folder).changed is True


def test_outside_of_a_repository_there_is_no_commit(tmp_path):
    assert commit(tmp_path) is None


def test_without_git_there_is_no_commit(folder, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit(folder) is None
