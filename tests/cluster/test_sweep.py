"""Whole sweeps on a real local Ray cluster of two CPUs."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean

import pytest
import ray
from support.sweep_folder import losses, results, write
from support.tiny_sweeps import sweep

from raykd.cli import main
from raykd.data import smallworld
from raykd.results.journal import Journal
from raykd.sweep.searcher import history

pytestmark = pytest.mark.cluster


def test_a_sweep_ends_in_a_leaderboard_and_the_same_command_skips_what_is_finished(capsys):
    keys = sweep(
        methods={"ce": {"distillation": {"kd_weight": 0}}, "skd-map": {"distillation": {"coefficient": "map_at_k"}}},
        search={"space": {"data.budget": [4, 8]}},
        seeds=[1, 2],
    )
    assert main(["sweep", write(keys)]) == 0
    said = capsys.readouterr().out
    assert "\n8 finished;" in said
    assert re.search(r"\| skd-map \| 8 \| \d+\.\d ± \d+\.\d", said)
    assert "| generation 0 | - |" in said
    assert len(results()) == 8
    # Budgets are nested, and all methods of a seed draw the same items.
    ids = {label: result.data["budget"]["ids"] for label, result in results().items()}
    assert ids["ce budget=4 seed=1"] == ids["ce budget=8 seed=1"][:4] == ids["skd-map budget=4 seed=1"]
    assert not Path("runs/tiny/.ray").exists()

    started = time.perf_counter()
    assert main(["sweep", "sweep.yaml"]) == 0
    assert "nothing to do: all 8 finished" in capsys.readouterr().out
    assert time.perf_counter() - started < 10

    assert main(["leaderboard", "runs/tiny", "--cells"]) == 0
    assert "question \\ context" in capsys.readouterr().out

    described = Journal.at(Path("runs/tiny")).sweep.read()
    (node,) = described.hardware.nodes
    assert (node.count, node.cpus, node.gpus) == (1, 2.0, 0.0)
    assert described.source is None
    assert {(each.device, each.num_threads) for each in results().values()} == {("cpu", 1)}
    assert main(["report", "runs/tiny"]) == 0
    assert "scores best: G-XLT F1" in capsys.readouterr().out
    assert "2 CPUs" in Path("runs/tiny/report.md").read_text()


def test_two_workers_under_every_zero_stage_give_the_losses_and_scores_of_one(capsys):
    """50 steps and more in float32: within 1e-4 a step."""
    keys = sweep(
        methods={
            "one": {},
            "zero-2": {"compute": {"num_workers": 2, "zero_stage": 2}},
            "zero-3": {"compute": {"num_workers": 2, "zero_stage": 3}},
        },
        data={"budget": 32, "num_target_languages": 2},
        distillation={"coefficient": "map_at_k", "window": 2, "k": 5},
        training={"learning_rate": 1e-4},
    )
    assert main(["sweep", write(keys)]) == 0
    capsys.readouterr()
    one = losses("one seed=1")
    assert len(one) >= 50
    for label in ("zero-2 seed=1", "zero-3 seed=1"):
        difference = (losses(label) - one).abs().max().item()
        print(f"{label}: at most {difference:.1e} a step over {len(one)} steps")
        assert difference < 1e-4
    scores = {label: result.scores.values["gxlt_f1"] for label, result in results().items()}
    assert max(scores.values()) - min(scores.values()) < 2.0
    assert results()["zero-3 seed=1"].num_workers == 2


def squad_files(folder: Path, languages: tuple[str, ...]) -> None:
    """The built-in world as SQuAD files `x.LANGUAGE.json`."""
    folder.mkdir()
    items = smallworld.parallel_items("train", 8, languages=languages)
    for language in languages:
        paragraphs = []
        for item in items.values():
            example = item[language]
            answers = [{"text": answer.text, "answer_start": answer.start} for answer in example.answers]
            qa = {"id": example.id, "question": example.question, "answers": answers}
            paragraphs.append({"context": example.context, "qas": [qa]})
        document = {"version": "1", "data": [{"title": "t", "paragraphs": paragraphs}]}
        (folder / f"x.{language}.json").write_text(json.dumps(document, ensure_ascii=False))


def test_files_of_a_relative_data_folder_are_found_everywhere_and_their_change_is_refused(own_ray, capsys, monkeypatch):
    squad_files(Path("files"), ("en", "es", "zh"))
    keys = sweep(methods={"inline": {}, "train": {"compute": {"num_workers": 2}}}, lineage={"num_generations": 1})
    keys["data"]["train"] = {"path": "x.{language}.json"}
    keys["selection"]["source"] = {"path": "files/x.{language}.json"}
    # The folder is told to workers when Ray starts.
    monkeypatch.setenv("RAYKD_DATA", "files")
    assert main(["sweep", write(keys)]) == 0
    assert "2 finished" in capsys.readouterr().out

    content = Path("files/x.es.json").read_text()
    Path("files/x.es.json").write_text(content.replace("sw-train-00000", "other-id"))
    Path("files/x.en.json").write_text(Path("files/x.en.json").read_text().replace("sw-train-00000", "other-id"))
    Path("files/x.zh.json").write_text(Path("files/x.zh.json").read_text().replace("sw-train-00000", "other-id"))
    assert main(["sweep", "sweep.yaml"]) == 2
    assert "changed since runs/tiny was begun" in capsys.readouterr().err


def test_a_failed_point_is_reported_and_the_others_finish(capsys):
    keys = sweep(search={"space": {"training.learning_rate": [1e-3, 1e30]}}, training={"max_grad_norm": 0.0})
    assert main(["sweep", write(keys)]) == 1
    said = capsys.readouterr().out
    assert "1 finished" in said
    assert "1 failed" in said
    assert "the loss of step" in said
    assert "Traceback" not in said
    statuses = sorted(Journal.at(Path("runs/tiny")).points.state(point).status for point in results_folder_points())
    assert statuses == ["failed", "finished"]


def results_folder_points() -> list[str]:
    return Journal.at(Path("runs/tiny")).points.ids()


def test_more_workers_than_the_cluster_has_are_refused_before_anything_starts(capsys):
    assert main(["sweep", write(sweep(compute={"num_workers": 64}))]) == 2
    said = capsys.readouterr().err
    assert "compute.num_workers: 64 workers of 1 CPU do not fit" in said
    assert "Traceback" not in said
    assert not Path("runs/tiny/points").exists()


def test_optuna_chooses_points_and_goes_on_with_its_history(capsys):
    space = {"distillation.temperature": {"log_uniform": [1, 8]}, "training.learning_rate": {"uniform": [1e-4, 1e-3]}}
    keys = sweep(seeds=[1, 2], search={"algorithm": "optuna", "num_points": 2, "max_concurrent": 1, "space": space})
    del keys["seed"]
    assert main(["sweep", write(keys)]) == 0
    assert "4 finished" in capsys.readouterr().out
    first = set(results_folder_points())
    keys["search"]["num_points"] = 3
    assert main(["sweep", write(keys)]) == 0
    assert "2 finished" in capsys.readouterr().out
    assert len(first) == 4
    assert first < set(results_folder_points())
    journal = Journal.at(Path("runs/tiny"))
    described = [journal.points.description(point) for point in results_folder_points()]
    seeds = {
        each.configuration: sorted(
            other.varied["seed"] for other in described if other.configuration == each.configuration
        )
        for each in described
    }
    assert [*seeds.values()] == [[1, 2]] * 3
    # The searcher goes by means over seeds.
    means = {
        json.dumps(each.suggested, sort_keys=True): [
            journal.points.result(other.id).generations[-1].dev_score
            for other in described
            if other.suggested == each.suggested
        ]
        for each in described
    }
    assert {json.dumps(values, sort_keys=True): score for values, score in history(journal)} == pytest.approx(
        {name: fmean(scores) for name, scores in means.items()}
    )


def test_a_hopeless_suggestion_ends_before_its_last_seed(capsys):
    space = {"training.learning_rate": {"choice": [1e-3, 1e-9]}}
    keys = sweep(
        seeds=[1, 2, 3],
        search={
            "algorithm": "optuna",
            "num_points": 4,
            "max_concurrent": 1,
            "space": space,
            "scheduler": {"grace_epochs": 2, "reduction_factor": 2},
        },
    )
    del keys["seed"]
    assert main(["sweep", write(keys)]) == 0
    said = capsys.readouterr().out
    journal = Journal.at(Path("runs/tiny"))
    given_up = [
        state.error for each in results_folder_points() if (state := journal.points.state(each)).status == "stopped"
    ]
    assert any(error.startswith("its configuration was given up after") for error in given_up)
    assert re.search(r"[1-9]\d* stopped early", said)
    before = len(results_folder_points())
    # What was given up counts as tried.
    assert main(["sweep", "sweep.yaml"]) == 0
    assert len(results_folder_points()) == before


def test_asha_stops_points_early_and_says_so(capsys):
    keys = sweep(
        search={
            "space": {"training.learning_rate": [1e-3, 1e-4, 1e-5, 1e-6]},
            "scheduler": {"grace_epochs": 1, "reduction_factor": 2},
            "max_concurrent": 1,
        },
        lineage={"num_generations": 4},
        training={"lr_schedule": "constant"},
    )
    assert main(["sweep", write(keys)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"[1-9] stopped early", said)
    states = [Journal.at(Path("runs/tiny")).points.state(point) for point in results_folder_points()]
    assert {state.status for state in states} == {"finished", "stopped"}


def test_worker_groups_that_are_stopped_early_give_their_workers_back(capsys):
    """Else the next group waits for ever; and nothing is asked of a dashboard, which is not there."""
    keys = sweep(
        search={
            "space": {"training.learning_rate": [1e-3, 1e-4, 1e-5, 1e-6]},
            "scheduler": {"grace_epochs": 1, "reduction_factor": 2},
            "max_concurrent": 1,
        },
        compute={"executor": "train"},
        lineage={"num_generations": 4},
        training={"lr_schedule": "constant"},
    )
    assert main(["sweep", write(keys)]) == 0
    assert re.search(r"[1-9] stopped early", capsys.readouterr().out)
    groups = ray.util.placement_group_table().values()
    assert {group["state"] for group in groups} == {"REMOVED"}


def test_a_sweep_that_was_killed_goes_on_and_ends_as_if_nothing_had_happened(tmp_path, capsys):
    keys = sweep(lineage={"num_generations": 6, "keep": "delivered"}, data={"budget": 16}, search={"max_concurrent": 1})
    assert main(["sweep", write(keys), "--storage", "whole"]) == 0
    capsys.readouterr()

    command = [sys.executable, "-m", "raykd", "sweep", "sweep.yaml", "--storage", "killed"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        for line in process.stdout:
            if "epoch 3/6" in line:
                break
        os.killpg(process.pid, signal.SIGKILL)
    journal = Journal.at(tmp_path / "killed")
    assert [journal.points.state(point).status for point in journal.points.ids()] == ["running"]

    assert main(["sweep", "sweep.yaml", "--storage", "killed"]) == 0
    said = capsys.readouterr().out
    assert "epoch 1/6" not in said
    assert "epoch 6/6" in said
    whole, again = results("whole")["default seed=1"], results("killed")["default seed=1"]
    assert again.scores == whole.scores
    stores = [Journal.at(tmp_path / folder).store for folder in ("whole", "killed")]
    first, second = (store.record(whole.artifact).files["model.safetensors"] for store in stores)
    assert first == second


def test_a_race_drops_what_loses_and_killed_in_the_middle_it_ends_with_the_same_survivors(tmp_path, capsys):
    keys = sweep(
        methods={
            "still": {"training": {"learning_rate": 1e-9}},
            "calm": {"training": {"learning_rate": 1e-8}},
            "wild": {"training": {"learning_rate": 0.1}},
        },
        seeds=[1, 2, 3, 4],
        # A generation 0 that has something to lose.
        base={"train": {"source": {"num_items": 300}, "epochs": 4}},
        selection={"source": {"num_items": 60}, "max_items": 60},
        lineage={"num_generations": 1},
        search={"algorithm": "race", "race": {"min_items": 20, "margin": 0.1}},
    )
    del keys["seed"]
    assert main(["sweep", write(keys), "--storage", "whole"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"wild seed=\d.*: out of the race after \d seeds: .* points behind (still|calm) ", said)

    command = [sys.executable, "-m", "raykd", "sweep", "sweep.yaml", "--storage", "killed"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        for line in process.stdout:
            if "seed=2: generation" in line or ("seed=2" in line and "epoch" in line):
                break
        os.killpg(process.pid, signal.SIGKILL)
    assert main(["sweep", "sweep.yaml", "--storage", "killed"]) == 0
    capsys.readouterr()

    def ends(folder: str) -> dict[str, tuple[str, str | None]]:
        points = Journal.at(tmp_path / folder).points
        states = {points.description(point).label: points.state(point) for point in points.ids()}
        return {label: (state.status, state.error) for label, state in states.items()}

    assert ends("killed") == ends("whole")
    assert main(["leaderboard", "whole"]) == 0
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    assert rows[-1] == "wild"
    assert main(["report", "whole"]) == 0
    assert re.search(r"out after round \d", (tmp_path / "whole/report.md").read_text())
