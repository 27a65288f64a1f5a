"""Pushing an exported folder, to a server on loopback."""

import json
import os
import subprocess
import sys

import pytest
from support.hub_server import Hub

from raykd.errors import ConfigError, HubError
from raykd.export.hub import check_repo, push


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.stop()


def test_a_push_makes_the_repository_and_uploads_every_file_as_it_was_written(sweep, tmp_path, hub):
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token}
    command = [sys.executable, "-m", "raykd", "export", str(sweep("qa")), "home", "--push", "me/model", "--private"]
    run = subprocess.run(
        [*command, "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    wanted = hub.repos["me/model"]
    assert wanted.get("visibility") == "private" or wanted.get("private")
    assert hub.files == {path.name: path.read_bytes() for path in (tmp_path / "home").iterdir()}
    assert json.loads(run.stdout)["pushed"] == f"{hub.url}/me/model/commit/1"


@pytest.mark.parametrize("way", ["no server", "a wrong token", "a refused commit"])
def test_a_push_that_fails_says_why_in_one_line_and_what_to_do(tmp_path, hub, way, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong" if way == "a wrong token" else hub.token)
    hub.refuses = "/commit/" if way == "a refused commit" else ""
    if way == "no server":
        hub.server.server_close()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(HubError) as caught:
        push(tmp_path, "me/model")
    (line,) = caught.value.problems
    assert line.startswith(f"push to me/model at {hub.url}: ") and f"hf upload me/model {tmp_path}" in line
    assert "hf_" not in line
    assert hub.files == {}


def test_a_name_that_no_repository_can_have_is_refused_at_once():
    with pytest.raises(ConfigError, match="--push a/b/c"):
        check_repo("a/b/c")
