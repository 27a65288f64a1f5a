"""`raykd evaluate` of taggers and encoders; that of question answering is in `tests/cli/test_commands.py`."""

import json
from pathlib import Path

import pytest
import torch

from raykd.cli import main
from raykd.data import smallworld_bitext, smallworld_tags
from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.data.tags import label_set
from raykd.models.encoder import tiny_sentence_encoder
from raykd.models.qa import load_tokenizer, tiny_qa_model
from raykd.models.tagging import TagHead, tiny_tag_model
from raykd.predict import Predictor
from raykd.tasks.tagging.scoring import count, score

LANGUAGES = ("en", "es")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder with a random model of each kind: `qa`, `tagger`, `encoder`, and `bare`, an encoder without a word."""
    root = tmp_path_factory.mktemp("models")
    build_tokenizer(root)
    tokenizer = load_tokenizer(str(root))
    made = {
        "qa": tiny_qa_model(tokenizer, seed=1),
        "tagger": tiny_tag_model(tokenizer, TagHead(label_set(["LOC", "PER", "RIVER"], "bioes")), seed=1),
        "encoder": tiny_sentence_encoder(tokenizer, seed=1, pooling="mean"),
    }
    for name, model in made.items():
        model.save_pretrained(root / name, state_dict=model.state_dict())
        tokenizer.save_pretrained(root / name)
    made["encoder"].encoder.save_pretrained(root / "bare")
    tokenizer.save_pretrained(root / "bare")
    return root


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """Tagged sentences and pairs of the built-in world, as files in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAYKD_DATA", raising=False)
    made = smallworld_tags.sentences("dev", 8, languages=LANGUAGES, scheme="iob2")
    for language, sentences in made.items():
        blocks = ["\n".join(map("\t".join, zip(each.words, each.tags, strict=True))) for each in sentences]
        Path(f"tags.{language}.tsv").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    for language, pairs in smallworld_bitext.pairs("dev", 8, languages=("es", "zh")).items():
        lines = [f"{pair.english}\t{pair.other}" for pair in pairs]
        Path(f"pairs.{language}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def evaluated(capsys, *words: object) -> tuple[dict, list[str]]:
    capsys.readouterr()
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), [line for line in said.err.splitlines() if " F1" in line or ":" in line]


def refused(capsys, *words: object) -> str:
    assert main(["evaluate", *map(str, words)]) == 2
    return capsys.readouterr().err


def test_a_tagger_is_scored_language_by_language(capsys, models):
    command = [models / "tagger", "--data", "tags.{language}.tsv", "--languages", "en,es"]
    scores, lines = evaluated(capsys, *command, "--predictions", "labels.json")
    predictor = Predictor.load(models / "tagger")
    made = smallworld_tags.sentences("dev", 8, languages=LANGUAGES, scheme="bioes")
    for language, sentences in made.items():
        labelled = predictor.labels([each.words for each in sentences])
        counts = [
            count(gold.tags, found.labels, scheme="bioes") for gold, found in zip(sentences, labelled, strict=True)
        ]
        assert scores["cells"][language]["f1"] == pytest.approx(score(counts).f1)
        assert any(line.startswith(f"{language}: f1 ") and line.endswith("sentences: 8") for line in lines)
    rows = json.loads(Path("labels.json").read_text())
    assert [len(row["labels"]) for row in rows] == [len(row["words"]) for row in rows] and len(rows) == 16
    assert main([*map(str, ["evaluate", *command]), "--max-items", "2"]) == 0
    assert "F1: " in capsys.readouterr().out


def test_a_tag_without_a_label_is_refused_or_missed(capsys, models):
    Path("new.tsv").write_text("Ada\tB-PER\nACL\tB-CONF\n")
    said = refused(capsys, models / "tagger", "--data", "new.tsv")
    assert "new.tsv: line 2: tag 'S-CONF' is not one of" in said
    scores, _ = evaluated(capsys, models / "tagger", "--data", "new.tsv", "--unknown-tags", "miss")
    assert scores["cells"]["en"]["recall"] <= 50.0


def test_an_encoder_is_scored_language_by_language(capsys, models):
    command = [models / "encoder", "--data", "pairs.{language}.tsv", "--languages", "es,zh"]
    scores, lines = evaluated(capsys, *command)
    assert scores["main"] == "retrieval" and set(scores["cells"]) == {"es", "zh"}
    assert any(line.startswith("zh: retrieval ") and line.endswith("pairs: 8") for line in lines)
    alone, _ = evaluated(capsys, models / "encoder", "--data", "pairs.es.tsv", "--languages", "es")
    assert alone["cells"]["es"] == scores["cells"]["es"]
    assert "effective_rank" in scores["values"]


def test_a_bare_encoder_is_scored_as_what_it_is_said_to_be(capsys, models):
    command = [models / "bare", "--data", "pairs.es.tsv", "--languages", "es"]
    assert "pairs.es.tsv: row 0: lacks id, question, context, answers; needs" in refused(capsys, *command)
    scores, _ = evaluated(capsys, *command, "--task", "parallel")
    assert set(scores["cells"]) == {"es"}
    assert "--task translation: give one of qa, tagging, parallel" in refused(capsys, *command, "--task", "translation")


def test_options_of_another_task_are_refused_by_name(capsys, models):
    tags = [models / "tagger", "--data", "tags.en.tsv"]
    assert "--stride, --whole-words: not an option for models of tagging" in refused(
        capsys, *tags, "--whole-words", "--stride", 8
    )
    pairs = [models / "encoder", "--data", "pairs.es.tsv", "--languages", "es"]
    assert "--predictions: not an option for models of parallel text" in refused(capsys, *pairs, "--predictions", "x")
    assert "--official-predictions: the model answers no questions" in refused(
        capsys, *tags, "--official-predictions", "x"
    )


@pytest.mark.parametrize(
    ("kind", "files", "languages"),
    [("tagger", "tags.{language}.tsv", "en,es"), ("encoder", "pairs.{language}.tsv", "es,zh")],
)
def test_bf16_changes_the_arithmetic_and_hardly_the_scores(capsys, models, kind, files, languages, monkeypatch):
    lowered = []
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda *args, **kw: lowered.append(kw["enabled"]) or autocast(*args, **kw))
    command = [models / kind, "--data", files, "--languages", languages]
    exact, _ = evaluated(capsys, *command)
    assert not any(lowered)
    lowered.clear()
    found, _ = evaluated(capsys, *command, "--precision", "bf16")
    assert lowered and all(lowered)
    for language, cell in exact["cells"].items():
        metric = exact["metric"]
        assert found["cells"][language][metric] == pytest.approx(cell[metric], abs=15)
