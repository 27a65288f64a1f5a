"""A sweep handed to the Jobs API: what is refused before anything is sent, what is sent, and how a job is followed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray._private.runtime_env.packaging import create_package
from support.jobs_api_server import TOKEN, JobsApi
from support.tiny_sweeps import sweep

from raykd.cli import main
from raykd.executors.ray_internals import upload_limit
from raykd.plan.file import load_sweep
from raykd.submit import cluster, find_token, submission_id
from raykd.submit.upload import files_to_upload, upload_bytes


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder with a sweep file, a home without a token, and nothing in the environment."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAYKD_DATA"):
        monkeypatch.delenv(name, raising=False)
    # What connecting sets is taken back at the end.
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.01)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("tiny.yaml").write_text(yaml.safe_dump(sweep()))


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)


SUBMIT = ("submit", "tiny.yaml", "--storage", "/shared/tiny")


def refused(capsys, *command: str) -> list[str]:
    """The lines of a command that starts nothing."""
    assert main(command) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err.splitlines()


def dry_run(capsys, *more: str) -> dict:
    assert main([*SUBMIT, "--dry-run", *more]) == 0
    return json.loads(capsys.readouterr().out)


def large(name: str, mebibytes: int) -> None:
    """A file of that size that takes no room on the disk."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(mebibytes * 2**20)


def test_everything_wrong_with_the_sweep_file_is_said_before_anything_is_sent(capsys):
    Path("tiny.yaml").write_text(yaml.safe_dump(sweep(distillation={"temprature": 2}, training={"learning_rate": -1})))
    lines = refused(capsys, *SUBMIT, "--address", "http://127.0.0.1:1")
    assert len(lines) == 2
    assert "did you mean 'temperature'?" in lines[0]
    assert "training.learning_rate" in lines[1]


def test_results_inside_the_upload_are_refused(capsys):
    (line,) = refused(capsys, "submit", "tiny.yaml", "--dry-run")
    assert line.startswith("raykd: storage: runs/tiny would be deleted with the job's working folder")
    (line,) = refused(capsys, "submit", "tiny.yaml", "--storage", "results", "--dry-run")
    assert "--storage an absolute path" in line


def test_a_wrong_option_for_the_sweep_is_refused_here(capsys):
    with pytest.raises(SystemExit) as ended:
        main([*SUBMIT, "--dry-run", "--", "--fail-fst"])
    assert ended.value.code == 2
    assert "--fail-fst" in capsys.readouterr().err


def test_a_sweep_file_outside_the_upload_is_refused(capsys):
    Path("inner").mkdir()
    (line,) = refused(capsys, *SUBMIT, "--working-dir", "inner", "--dry-run")
    assert line == "raykd: tiny.yaml: not in the uploaded folder inner; set --working-dir to its folder"
    Path(".gitignore").write_text("*.yaml\n")
    (line,) = refused(capsys, *SUBMIT, "--dry-run")
    assert line.startswith("raykd: tiny.yaml: excluded from the upload by .gitignore")


def test_the_upload_is_counted_as_ray_packs_it(tmp_path):
    for name in ("a.py", "data/ü.txt", "data/b.safetensors", ".git/config", "deep/.gitignore", "deep/x.log", "deep/y"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("*.log" if name.endswith("ignore") else name * 7)
    Path(".rayignore").write_text("/a.py\n")
    sizes = files_to_upload(Path("."), ["*.safetensors"])
    assert set(sizes) == {".rayignore", "tiny.yaml", "data/ü.txt", "deep/.gitignore", "deep/y"}
    package = tmp_path / "package.zip"
    create_package(".", package, include_gitignore=True, excludes=["*.safetensors", ".git"])
    assert upload_bytes(sizes) == package.stat().st_size


def test_an_upload_that_is_too_large_names_its_largest_files_and_what_to_leave_out(capsys):
    large("models/a.bin", 70)
    large("models/b.bin", 20)
    large("notes.txt", 30)
    large("model.safetensors", 500)
    size, files, advice = refused(capsys, *SUBMIT, "--dry-run")
    assert size == "raykd: .: the upload is 120.0 MiB, the limit of Ray is 100.0 MiB"
    assert "models/a.bin (70.0 MiB), notes.txt (30.0 MiB), models/b.bin (20.0 MiB), tiny.yaml" in files
    assert "model.safetensors" not in files
    assert "in .rayignore: /models/ (90.0 MiB);" in advice
    Path(".rayignore").write_text("/models/\n")
    assert dry_run(capsys)["upload"]["bytes"] < upload_limit()


def test_results_are_never_uploaded(capsys):
    large("results/model.bin", 200)
    assert main(["submit", "tiny.yaml", "--storage", str(Path("results").absolute()), "--dry-run"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["upload"]["files"] == 1
    assert shown["runtime_env"]["excludes"][-1] == "/results"


def test_a_runtime_environment_that_ray_refuses_is_named(capsys):
    Path("env.yaml").write_text("env_vars: {DEBUG: 1}")
    (line,) = refused(capsys, *SUBMIT, "--runtime-env", "env.yaml", "--dry-run")
    assert line.startswith("raykd: env.yaml: ")
    assert "env_vars" in line
    Path("env.yaml").write_text("- excludes")
    assert (
        "must be a mapping of keys to values" in refused(capsys, *SUBMIT, "--runtime-env", "env.yaml", "--dry-run")[0]
    )
    (line,) = refused(capsys, *SUBMIT, "--runtime-env", "none.yaml", "--dry-run")
    assert line == "raykd: none.yaml: cannot be read: No such file or directory"


def test_a_dry_run_shows_the_request_and_no_secret(capsys, monkeypatch, token):
    Path("env.yaml").write_text("{env_vars: {HF_TOKEN: hf-secret, TOKENIZERS_PARALLELISM: 'false'}, excludes: [data]}")
    monkeypatch.setenv("RAYKD_DATA", "/data")
    address = "https://me:hidden@ray.internal"
    assert main([*SUBMIT, "--dry-run", "--runtime-env", "env.yaml", "--address", address, "--", "--fail-fast"]) == 0
    said = capsys.readouterr().out
    assert json.loads(said) == {
        "url": "POST https://ray.internal/api/jobs/",
        "headers": {"Authorization": "Bearer (from RAY_AUTH_TOKEN)"},
        "submission_id": submission_id(load_sweep(Path("tiny.yaml")), "/shared/tiny"),
        "entrypoint": "python -m raykd sweep tiny.yaml --storage /shared/tiny --fail-fast",
        "runtime_env": {
            "env_vars": {"RAYKD_DATA": "/data", "HF_TOKEN": "***", "TOKENIZERS_PARALLELISM": "false"},
            "excludes": ["data"],
            "working_dir": ".",
        },
        "upload": {"files": 2, "bytes": upload_bytes(files_to_upload(Path("."), []))},
    }
    assert not any(secret in said for secret in (TOKEN, "hf-secret", "hidden"))


def test_the_submission_id_is_the_sweeps_and_its_storages():
    first = load_sweep(Path("tiny.yaml"))
    assert submission_id(first, "/a") == submission_id(first, "/a")
    changed = first.model_copy(update={"point": first.point.model_copy(update={"seed": 2})})
    names = {submission_id(first, "/a"), submission_id(first, "/b"), submission_id(changed, "/a")}
    assert len(names) == 3
    assert all(name.startswith("raykd-tiny-") for name in names)


def test_the_token_is_looked_for_where_ray_does(capsys, monkeypatch, tmp_path):
    assert find_token() is None
    home = tmp_path / "home/.ray/auth_token"
    home.parent.mkdir(parents=True)
    home.write_text("of-home\n")
    assert find_token().value == "of-home"
    named = tmp_path / "named"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(named))
    assert "RAY_AUTH_TOKEN_PATH" in refused(capsys, *SUBMIT, "--dry-run")[0]
    named.write_text("of-file\n")
    assert find_token().value == "of-file"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-environment")
    assert find_token().value == "of-environment"
    assert "of-environment" not in repr(find_token())


def test_an_address_where_nothing_answers_is_named(capsys):
    (line,) = refused(capsys, *SUBMIT, "--address", "127.0.0.1:1")
    assert line.startswith("raykd: http://127.0.0.1:1: no Ray cluster answers")
    assert "--address ray://x:10001" in refused(capsys, *SUBMIT, "--address", "ray://x:10001")[0]


def test_a_cluster_that_wants_a_token_says_where_it_is_looked_for(capsys, monkeypatch):
    with JobsApi() as api:
        (line,) = refused(capsys, *SUBMIT, "--address", api.address)
        assert line.startswith(f"raykd: {api.address}: needs a token: set RAY_AUTH_TOKEN")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
        (line,) = refused(capsys, "stop", "tiny.yaml", "--storage", "/shared/tiny", "--address", api.address)
        assert "refused the token from RAY_AUTH_TOKEN" in line
        assert "another" not in line
        assert api.calls == []


@pytest.mark.usefixtures("token")
class TestAJob:
    """Of a cluster that knows the token."""

    def test_is_submitted_followed_and_ends_with_its_exit_code(self, capsys):
        with JobsApi(("PENDING", "RUNNING", "FAILED"), exit_code=2) as api:
            api.log, api.message = "one\ntwo\n", "waits for its environment"
            assert main([*SUBMIT, "--address", api.address]) == 2
        said = capsys.readouterr()
        name = submission_id(load_sweep(Path("tiny.yaml")), "/shared/tiny")
        assert said.out.splitlines()[0].startswith(f"{name}: 1 point, submitted with 1 file")
        assert said.out.splitlines()[1:] == ["waits for its environment", "one", "two", f"{name}: FAILED"]
        assert said.err == ""
        (sent,) = api.submitted
        assert sent["submission_id"] == name
        assert sent["entrypoint"] == "python -m raykd sweep tiny.yaml --storage /shared/tiny"
        assert sent["runtime_env"]["working_dir"].startswith("gcs://")
        assert TOKEN not in json.dumps(sent)

    def test_that_runs_is_followed_and_not_started_twice(self, capsys):
        name = submission_id(load_sweep(Path("tiny.yaml")), "/shared/tiny")
        with JobsApi() as api:
            api.jobs[name] = ["RUNNING", "RUNNING", "SUCCEEDED"]
            api.log = "at work\n"
            assert main([*SUBMIT, "--address", api.address]) == 0
            assert api.submitted == []
        assert "RUNNING already" in capsys.readouterr().out

    def test_that_has_ended_is_followed_by_one_with_the_next_number(self, capsys):
        name = submission_id(load_sweep(Path("tiny.yaml")), "/shared/tiny")
        with JobsApi() as api:
            api.jobs |= {name: ["FAILED"], f"{name}-2": ["STOPPED"], f"{name}-x": ["RUNNING"]}
            assert main([*SUBMIT, "--address", api.address]) == 0
            assert [sent["submission_id"] for sent in api.submitted] == [f"{name}-3"]
            assert f"{name}-3: SUCCEEDED" in capsys.readouterr().out
            api.jobs[f"{name}-3"] = ["RUNNING"]
            assert main(["stop", "tiny.yaml", "--storage", "/shared/tiny", "--address", api.address]) == 0
            assert capsys.readouterr().out == f"{name}-3: STOPPED\n"

    def test_is_followed_through_lost_connections_and_each_character_shown_once(self):
        with JobsApi(("RUNNING",) * 4 + ("SUCCEEDED",)) as api:
            api.jobs["job"], api.log, api.cuts = list(api.course), "0123456789", [3, 7]
            written = []
            assert cluster.Cluster(api.address, find_token()).follow("job", write=written.append) == ("SUCCEEDED", 0)
        assert "".join(written) == "0123456789"

    def test_goes_on_when_its_follower_is_interrupted(self, capsys, monkeypatch):
        def interrupted(*arguments: object) -> None:
            raise KeyboardInterrupt

        with JobsApi() as api:
            api.log = "at work\n"
            monkeypatch.setattr(cluster._Tail, "read", interrupted)
            assert main([*SUBMIT, "--address", api.address]) == 130
        assert "`raykd stop raykd-tiny-" in capsys.readouterr().err
        assert not any("stop" in call for call in api.calls)

    def test_of_a_cluster_that_is_gone_is_given_up_after_a_while(self, monkeypatch):
        monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 0.2)
        with JobsApi(("RUNNING",)) as api:
            api.jobs["job"] = ["RUNNING"]
            followed = cluster.Cluster(api.address, find_token())
        with pytest.raises(cluster.RaykdError, match="job job may still be running; run the same command to follow it"):
            followed.follow("job", write=lambda text: None)

    def test_that_its_cluster_does_not_know_any_more_is_said_to_be_lost(self):
        with JobsApi() as api:
            followed = cluster.Cluster(api.address, find_token())
            with pytest.raises(cluster.RaykdError, match="job job was lost with its head; submit it again"):
                followed.follow("job", write=lambda text: None)

    def test_that_could_not_start_says_why(self):
        with JobsApi(("FAILED",), exit_code=None) as api:
            api.jobs["job"], api.message = ["FAILED"], "runtime_env setup failed: no such package\nmore"
            with pytest.raises(
                cluster.ClusterError, match=r"job job failed: runtime_env setup failed: no such package$"
            ):
                cluster.Cluster(api.address, find_token()).follow("job", write=lambda text: None)

    def test_is_stopped_by_the_sweep_file_or_by_its_id(self, capsys):
        name = submission_id(load_sweep(Path("tiny.yaml")), "/shared/tiny")
        with JobsApi() as api:
            api.jobs[name] = ["RUNNING"]
            assert main(["stop", "tiny.yaml", "--storage", "/shared/tiny", "--address", api.address]) == 0
            assert capsys.readouterr().out == f"{name}: STOPPED\n"
            api.jobs["other"] = ["SUCCEEDED"]
            assert main(["stop", "other", "--address", api.address]) == 0
            assert capsys.readouterr().out == "other: SUCCEEDED\n"
            assert "POST /api/jobs/other/stop" not in api.calls
            assert "no job nothing" in refused(capsys, "stop", "nothing", "--address", api.address)[0]

    def test_is_told_in_one_json_document_with_its_log_apart(self, capsys):
        name = submission_id(load_sweep(Path("tiny.yaml")), "/shared/tiny")
        with JobsApi() as api:
            api.log = "at work\n"
            assert main([*SUBMIT, "--json", "--address", api.address]) == 0
            said = capsys.readouterr()
            told = json.loads(said.out)
            assert told["num_points"] > 0
            assert told == {**told, "job": name, "address": api.address, "submitted": True, "status": "SUCCEEDED"}
            assert "at work" in said.err
            assert main([*SUBMIT, "--json", "--no-follow", "--address", api.address]) == 0
            assert json.loads(capsys.readouterr().out)["status"] is None
            assert main(["stop", name, "--json", "--address", api.address]) == 0
            assert json.loads(capsys.readouterr().out) == {"job": name, "address": api.address, "status": "SUCCEEDED"}

    def test_says_nothing_but_what_the_user_needs(self):
        with JobsApi() as api:
            command = [sys.executable, "-m", "raykd", *SUBMIT, "--address", api.address]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0
        assert len(ended.stdout.splitlines()) == 2
        assert ended.stderr == ""

    def test_with_a_secret_in_its_environment_warns(self, capsys):
        Path("env.yaml").write_text("env_vars: {HF_TOKEN: hf-secret}")
        with JobsApi() as api:
            assert main([*SUBMIT, "--runtime-env", "env.yaml", "--no-follow", "--address", api.address]) == 0
        said = capsys.readouterr()
        assert "env_vars.HF_TOKEN: Ray shows it with the job" in said.err
        assert "hf-secret" not in said.out + said.err
