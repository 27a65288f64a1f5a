import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import raykd
from raykd.data.sources import SourceRef, load_hub, locate
from raykd.errors import DataError
from raykd.results.models import check_model, locate_model

HUB = {"hub": "google/xquad", "hub_config": "xquad.{language}", "split": "validation"}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Three empty folders: that of the sweep file, the current one, and the one in RAYKD_DATA."""
    folders = {name: tmp_path / name for name in ("sweep", "cwd", "data")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.chdir(folders["cwd"])
    monkeypatch.setenv("RAYKD_DATA", str(folders["data"]))
    return folders


def put(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return path


def test_the_folder_of_the_sweep_comes_before_the_current_one_and_that_before_raykd_data(places):
    ref = SourceRef(path="xquad/{language}.json")
    for name in ("data", "cwd", "sweep"):
        expected = put(places[name], "xquad/de.json")
        assert locate(ref, folder=places["sweep"], language="de") == expected


def test_raykd_data_may_name_several_folders(places, monkeypatch, tmp_path):
    monkeypatch.setenv("RAYKD_DATA", os.pathsep.join([str(tmp_path / "none"), str(places["data"])]))
    expected = put(places["data"], "a.json")
    assert locate(SourceRef(path="a.json"), folder=places["sweep"]) == expected


def test_an_absolute_path_is_taken_as_given(places, tmp_path):
    put(places["data"], "a.json")
    expected = put(tmp_path, "a.json")
    assert locate(SourceRef(path=str(expected)), folder=places["sweep"]) == expected
    with pytest.raises(DataError) as caught:
        locate(SourceRef(path=str(tmp_path / "b.json")), folder=places["sweep"])
    assert str(caught.value).count("b.json, ") == 0


def test_a_folder_is_no_data_file(places):
    (places["sweep"] / "a.json").mkdir()
    with pytest.raises(DataError, match="not found"):
        locate(SourceRef(path="a.json"), folder=places["sweep"])


def test_a_missing_file_is_one_line_with_every_place_and_a_remedy(places):
    with pytest.raises(DataError) as caught:
        locate(SourceRef(path="xquad/{language}.json"), folder=places["sweep"], language="de")
    (line,) = caught.value.problems
    assert line.startswith("xquad/de.json: not found; tried ")
    assert all(str(folder / "xquad/de.json") in line for folder in places.values())
    assert "set RAYKD_DATA" in line and "\n" not in line


def test_an_error_says_that_raykd_data_is_not_set(places, monkeypatch):
    monkeypatch.delenv("RAYKD_DATA")
    with pytest.raises(DataError, match=r"\(RAYKD_DATA is not set\)"):
        locate(SourceRef(path="a.json"), folder=places["sweep"])


def test_with_a_hub_id_a_missing_file_is_left_to_the_hub(places):
    assert locate(SourceRef(path="xquad.{language}.json", **HUB), folder=places["sweep"], language="de") is None
    assert locate(SourceRef(**HUB), folder=places["sweep"], language="de") is None


def test_an_unreachable_hub_is_one_line_with_every_place_tried_within_seconds(places, public_hub):
    public_hub.stop()
    ref = SourceRef(path="xquad.{language}.json", **HUB)
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        load_hub(ref, folder=places["sweep"], language="de")
    (line,) = caught.value.problems
    assert str(places["data"] / "xquad.de.json") in line
    assert "hub google/xquad xquad.de validation (ConnectError: " in line
    assert "set RAYKD_DATA" in line and "connect to the Hub" in line
    assert time.monotonic() - started < 10


def test_offline_the_real_libraries_fail_within_seconds_and_without_a_retry(places, tmp_path):
    code = (
        "from pathlib import Path; from raykd.data.squad import read_parallel\n"
        "from raykd.data.sources import SourceRef\n"
        "from raykd.errors import DataError\n"
        "ref = SourceRef(hub='google/xquad', hub_config='xquad.{language}', split='validation')\n"
        "try: read_parallel(ref, languages=['en', 'de'], folder=Path('.'))\n"
        "except DataError as error: print(type(error).__name__, len(error.problems), error)"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    env["PYTHONPATH"] = str(Path(raykd.__file__).parents[1])
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("DataError 2 hub google/xquad xquad.en validation: not found; tried"), done.stderr
    assert "Retrying" not in done.stderr
    assert time.monotonic() - started < 20


def test_a_source_needs_a_path_or_a_hub_id_with_a_split():
    with pytest.raises(ValueError, match="a path or a hub id"):
        SourceRef()
    with pytest.raises(ValueError, match="a split is needed, or hub_files"):
        SourceRef(hub="google/xquad")
    assert SourceRef(hub="google/xquad", hub_files="*.parquet").is_one_set


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{lang}.json", r"unknown placeholder \{lang\}; allowed here: \{language\}"),
        ("{}.json", "unknown placeholder"),
        ("{language.json", "not a template"),
    ],
)
def test_a_wrong_template_is_named(places, template, message):
    with pytest.raises(DataError, match=message):
        locate(SourceRef(path=template), folder=places["sweep"], language="de")


def test_placeholders_are_those_that_path_and_hub_config_share():
    assert SourceRef(path="{language}.json").placeholders() == {"language"}
    assert SourceRef(hub="m", hub_config="mlqa.{context}.{question}", split="v").placeholders() == {
        "context",
        "question",
    }
    assert SourceRef(path="{language}.json", hub="m", split="v").placeholders() == set()


def test_a_model_folder_comes_before_the_hub_id_of_the_same_name(places):
    assert locate_model("google-bert/bert-base", folder=places["sweep"]) == "google-bert/bert-base"
    for name in ("data", "cwd", "sweep"):
        put(places[name], "google-bert/bert-base/config.json")
        expected = places[name] / "google-bert/bert-base"
        assert locate_model("google-bert/bert-base", folder=places["sweep"]) == str(expected)


@pytest.mark.parametrize("name", ["./model", "../model", "/no/such/model", "a/b/c", ".hidden", "a/", "my model"])
def test_a_name_that_is_neither_a_folder_nor_a_hub_id_is_refused(places, name):
    folder = places["sweep"] / "sub"
    with pytest.raises(DataError, match="no such folder and no Hub id"):
        locate_model(name, folder=folder)


def test_a_model_may_be_a_folder_inside_an_installed_package(tmp_path):
    assert locate_model("package:raykd/data", folder=tmp_path) == str(Path(raykd.__file__).parent / "data")
    check_model("package:raykd/data", folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("package:no_such_package/model", "the Python package no_such_package is not installed"),
        ("package:../model", "the Python package .. is not installed"),
        ("package:raykd/nowhere", "no such folder in the package"),
    ],
)
def test_a_package_or_folder_that_is_not_there_is_named(tmp_path, name, said):
    with pytest.raises(DataError) as caught:
        locate_model(name, folder=tmp_path)
    (line,) = caught.value.problems
    assert line.startswith(f"model {name}: ") and said in line
