"""What a sweep needs and would cost, by the data that it names."""

import json
from pathlib import Path

import pytest
from support.tiny_sweeps import pair_sweep, sweep, tag_sweep
from support.written_results import report

from raykd.cli import main
from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.errors import ConfigError
from raykd.models.qa import load_tokenizer
from raykd.plan.cost import Sizes, signal_bytes
from raykd.plan.file import sweep_of
from raykd.plan.points import make_plan
from raykd.plan.preview import Speed, measured_speed, preview
from raykd.results.journal import Journal
from raykd.results.sweep import SweepDescription
from raykd.sweep.trial import point_description
from raykd.tasks import TASKS
from raykd.tasks.parallel import data as parallel_data
from raykd.tasks.parallel.windows import build_pair_features


def planned(keys: dict):
    return make_plan(sweep_of(keys))


def write(keys: dict, path: Path) -> str:
    path.write_text(json.dumps(keys))
    return str(path)


def trained(root: Path, *speeds: float) -> str:
    """Results of a sweep whose only point did so many epochs."""
    journal = Journal.at(root)
    (point,) = planned(sweep()).points
    journal.sweep.write(SweepDescription(name="tiny", points=(point.id,)))
    journal.points.add(point_description(point))
    for number, speed in enumerate(speeds, start=1):
        journal.epochs.write(point.id, report(number, tokens_per_second=speed))
    return str(root)


def test_the_disk_that_word_vectors_take_is_what_the_task_stores(tmp_path):
    config = planned(pair_sweep(data={"budget": "all", "train": {"num_items": 200}})).points[0].config
    items = parallel_data.load_items(config.data, folder=tmp_path)
    build_tokenizer(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path))
    features = build_pair_features(items.all(), tokenizer, tokenizer, max_length=config.data.max_length)
    stored = int(features.english.signal_lengths.sum()) * 64 * 2
    sizes = Sizes(total_items=200, widths=(64, 64), texts=TASKS["parallel"].data.items(config, folder=tmp_path).texts)
    assert signal_bytes(config, sizes, first=True) == pytest.approx(stored, rel=0.2)


@pytest.mark.parametrize(
    ("keys", "generation_zero", "strangers"), [(sweep(), 1, 0), (tag_sweep(), 2, 0), (pair_sweep(), 1, 1)]
)
def test_a_preview_tells_generation_0_from_a_teacher_that_is_given(tmp_path, keys, generation_zero, strangers):
    found = preview(planned(keys), folder=tmp_path)
    assert (found.num_generation_zero, found.num_strangers) == (generation_zero, strangers)
    assert found.problems == ()
    assert found.estimate.disk_bytes > 0
    assert found.wall_seconds > 0


def test_methods_and_what_is_shared_add_up_to_the_whole(tmp_path):
    keys = sweep(methods={"ce": {"distillation": {"kd_weight": 0}}, "skd": {}}, seeds=[1, 2])
    found = preview(planned(keys), folder=tmp_path, price=2.0, on_gpus=True)
    assert found.unit == "GPU"
    assert [(each.method, each.num_points) for each in found.methods] == [("ce", 2), ("skd", 2)]
    paid = sum(each.money for each in found.methods) + 2.0 * found.estimate.shared.gpu_hours
    assert paid == pytest.approx(found.money)
    assert found.money == pytest.approx(2.0 * found.estimate.total.seconds / 3600)


def test_without_gpus_a_price_is_that_of_a_cpu_hour(tmp_path):
    found = preview(planned(sweep(compute={"cpus_per_worker": 2})), folder=tmp_path, price=1.0)
    assert found.unit == "CPU"
    assert found.money == pytest.approx(2 * found.estimate.total.seconds / 3600)


def test_the_speed_of_an_earlier_sweep_is_its_median_epoch(tmp_path):
    speed = measured_speed(trained(tmp_path, 100.0, 300.0, 200.0))
    assert speed.tokens_per_second == 200.0
    assert "builtin:tiny" in speed.source


def test_a_sweep_that_has_trained_nothing_gives_no_speed(tmp_path):
    with pytest.raises(ConfigError, match="no point of that sweep has trained an epoch yet"):
        measured_speed(trained(tmp_path))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_cannot_be_is_refused(value):
    with pytest.raises(ConfigError, match="--tokens-per-second"):
        Speed(value, "as given")


def test_plan_prints_numbers_as_json(tmp_path, capsys):
    file = write(sweep(seeds=[1, 2]), tmp_path / "sweep.yaml")
    like = trained(tmp_path / "runs", 1000.0)
    assert main(["plan", file, "--like", like, "--price", "3", "--gpu", "--parallel", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["points"]) == 2
    assert (found["unit"], found["currency"], found["parallel"]) == ("GPU", "EUR", 2)
    assert found["money"] == pytest.approx(3 * found["total"]["gpu_hours"])
    assert found["speed"]["tokens_per_second"] == 1000.0
    assert found["wall_seconds"] < found["total"]["seconds"]


def test_plan_says_what_it_costs_in_words(tmp_path, capsys):
    file = write(sweep(), tmp_path / "sweep.yaml")
    assert main(["plan", file, "--tokens-per-second", "1", "--price", "3", "--currency", "USD"]) == 0
    said = capsys.readouterr().out
    assert "CPU-hours" in said
    assert "USD" in said
    assert "at 1 tokens/s a point (as given)" in said


def test_a_plan_of_missing_data_says_so_after_what_it_knows(tmp_path, capsys):
    keys = sweep()
    keys["data"]["train"] = {"path": "gone.{language}.json"}
    assert main(["plan", write(keys, tmp_path / "sweep.yaml"), "--json"]) == 2
    said = capsys.readouterr()
    assert "gone.en.json" in json.loads(said.out)["problems"][0]
    assert "gone.en.json" in said.err


@pytest.mark.parametrize("option", ["--price", "--parallel", "--tokens-per-second"])
def test_a_number_that_must_be_above_0_is_refused(tmp_path, capsys, option):
    assert main(["plan", write(sweep(), tmp_path / "sweep.yaml"), option, "0"]) == 2
    assert f"{option} 0" in capsys.readouterr().err
