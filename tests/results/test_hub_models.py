"""Models of the Hub at a revision, over real HTTP from a Hub on loopback."""

import pytest
from support.points import opened
from support.tiny_sweeps import point

from raykd.data.hub import forget, noted, snapshot
from raykd.errors import DataError
from raykd.results.journal import Journal
from raykd.results.models import check_model, fetch_model, locate_model, positions_of
from raykd.results.sweep import SweepDescription
from raykd.worker.handoff import given_model

NAME = "google-bert/bert-base"


def add(hub, branch, positions, **files):
    config = b'{"model_type": "bert", "max_position_embeddings": %d}' % positions
    return hub.add(NAME, {"config.json": config, **files}, branch=branch, kind="model")


def test_a_model_is_read_at_the_revision_that_its_name_ends_with(public_hub, tmp_path):
    main, first = add(public_hub, "main", 512), add(public_hub, "refs/pr/1", 128)
    for name, commit, positions in (
        (NAME, main, 512),
        (f"{NAME}@refs/pr/1", first, 128),
        (f"{NAME}@{main}", main, 512),
    ):
        with noted() as notes:
            check_model(name, folder=tmp_path)
            assert positions_of(name, folder=tmp_path) == positions
        assert list(notes.values()) == [commit]
        assert locate_model(name, folder=tmp_path) == name
        assert fetch_model(name, folder=tmp_path).name == commit


def test_a_pickle_is_fetched_only_where_there_are_no_tensors(public_hub, tmp_path):
    weights = {"model.safetensors": b"tensors", "pytorch_model.bin": b"pickle"}
    add(public_hub, "main", 512, **weights)
    add(public_hub, "old", 512, **{"pytorch_model.bin": b"pickle"})
    found = [{each.name for each in fetch_model(name, folder=tmp_path).iterdir()} for name in (NAME, f"{NAME}@old")]
    assert found == [{"config.json", "model.safetensors"}, {"config.json", "pytorch_model.bin"}]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"{NAME}@v9", f"{NAME} has no revision v9). To do: give a model folder, or correct the revision"),
        ("google-bert/none", "the Hub has no google-bert/none, or shows it to some only). To do:"),
    ],
)
def test_a_revision_or_model_that_is_not_there_is_one_line(public_hub, tmp_path, name, said):
    add(public_hub, "main", 512)
    with pytest.raises(DataError) as caught:
        check_model(name, folder=tmp_path)
    (line,) = caught.value.problems
    assert line.startswith(f"model {name}: ") and said in line
    assert positions_of(name, folder=tmp_path) is None


def test_a_revision_is_part_of_what_a_point_is():
    hub = {"hub": "google/xquad", "hub_config": "xquad.{language}", "split": "validation"}
    points = [
        point(base={"model": NAME}),
        point(base={"model": f"{NAME}@v1"}),
        *(
            point(selection={"source": {"builtin": None, "num_items": None, **hub, "hub_revision": revision}})
            for revision in (None, "v1")
        ),
    ]
    assert len({each.scores for each in points}) == len({each.id for each in points}) == 4


def test_a_folder_of_results_goes_on_with_the_commits_that_it_was_begun_with(public_hub, tmp_path):
    begun = add(public_hub, "main", 512)
    with noted() as notes:
        check_model(NAME, folder=tmp_path)
    moved = add(public_hub, "main", 128)
    journal = Journal.at(tmp_path / "runs")
    journal.sweep.write(SweepDescription(name="begun", data={"data x": "a hash", **notes}))
    forget()
    opened(tmp_path / "runs")
    assert snapshot(NAME, kind="model").commit == begun
    forget()
    opened(tmp_path / "other")
    assert snapshot(NAME, kind="model").commit == moved


def test_a_worker_loads_a_model_of_the_hub_at_its_revision(public_hub, tmp_path):
    context = opened(tmp_path / "runs")
    tiny = point(base={"train": None})
    model, tokenizer = given_model(context, tiny.config)
    folder = tmp_path / "saved"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    files = {each.name: each.read_bytes() for each in folder.iterdir()}
    public_hub.add("me/tiny", files, branch="v1", kind="model")
    again, _ = given_model(context, point(base={"model": "me/tiny@v1", "train": None}).config)
    both = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(bool((one == other).all()) for one, other in both)
