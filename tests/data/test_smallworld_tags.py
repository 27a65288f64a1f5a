"""The tagged small world is parallel, repeatable, readable by its own tokenizer, and learnt at once."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from raykd.data import smallworld_tags
from raykd.data.smallworld_names import LANGUAGES, SPLITS
from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.data.tags import first_bad, label_set, spans, types_of
from raykd.errors import DataError
from raykd.tasks.tagging.features import rejoin
from raykd.tasks.tagging.scoring import count, score
from raykd.tasks.tagging.windows import build_tag_features

LABELS = label_set(smallworld_tags.TYPES.values(), "bioes")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def entities(sentence):
    """Types and texts of the chunks."""
    gap = "" if sentence.language == "zh" else " "
    return [(kind, gap.join(sentence.words[a : b + 1])) for kind, a, b in spans(sentence.tags, "bioes")]


def digest(**options) -> str:
    return hashlib.sha256(repr(smallworld_tags.sentences("dev", 30, **options)).encode()).hexdigest()


def test_a_sentence_states_the_same_entities_in_every_language():
    found = smallworld_tags.sentences("train", 200)
    assert tuple(found) == LANGUAGES
    for parallel in zip(*found.values(), strict=True):
        assert len({sentence.id.replace(f"-{sentence.language}-", "") for sentence in parallel}) == 1
        assert len({tuple(sorted(kind for kind, _ in entities(sentence))) for sentence in parallel}) == 1
        latin = {tuple(sorted(entities(sentence))) for sentence in parallel if sentence.language in ("en", "es", "de")}
        assert len(latin) == 1


def test_the_first_sentences_stay_what_they_are():
    found = smallworld_tags.sentences("dev", 4, languages=("en", "zh"), scheme="iob2")
    english, chinese = found["en"][3], found["zh"][3]
    assert (english.id, chinese.id) == ("sw-dev-en-00003", "sw-dev-zh-00003")
    assert " ".join(english.words) == "Lomo Tokom founded the town of Bafal ."
    assert " ".join(english.tags) == "B-PER I-PER O O O O B-LOC O"
    assert " ".join(chinese.words) == "洛 莫 托 科 姆 创 建 了 巴 法 勒 镇 。"
    assert " ".join(chinese.tags) == "B-PER I-PER I-PER I-PER I-PER O O O B-LOC I-LOC I-LOC O O"


def test_words_hold_no_space_and_their_tags_are_legal():
    for scheme in ("iob2", "bioes"):
        for language, found in smallworld_tags.sentences("base", 150, scheme=scheme).items():
            for sentence in found:
                assert first_bad(sentence.tags, scheme) is None
                assert all(word and not set(word) & set(" {}<>|[]") for word in sentence.words)
                if language == "zh":
                    assert all(len(word) == 1 or word.isdigit() for word in sentence.words)
                else:
                    assert all(len(word) == 1 or word[-1] not in ".।" for word in sentence.words)
            assert types_of((sentence.tags for sentence in found), scheme) == {"PER", "LOC", "RIVER"}


def test_many_entities_have_several_words():
    found = smallworld_tags.sentences("train", 300, languages=("en",))["en"]
    sizes = [last - first for sentence in found for _, first, last in spans(sentence.tags, "bioes")]
    assert set(sizes) == {0, 1} and 0.3 < np.mean(sizes) < 0.5


def test_no_word_of_a_name_occurs_in_two_splits():
    words = []
    for split in SPLITS:
        found = smallworld_tags.sentences(split, 300, languages=("en",))["en"]
        words.append({word for sentence in found for _, text in entities(sentence) for word in text.split()})
    assert not words[0] & words[1] and not words[0] & words[2] and not words[1] & words[2]
    assert min(map(len, words)) > 30


def test_more_sentences_or_fewer_languages_never_change_one():
    few = smallworld_tags.sentences("dev", 5, languages=("zh", "en"))
    many = smallworld_tags.sentences("dev", 20)
    assert few == {language: many[language][:5] for language in ("zh", "en")}
    assert smallworld_tags.sentences("dev", 5, seed=1) != smallworld_tags.sentences("dev", 5)


def test_the_hash_seed_of_the_process_changes_nothing():
    code = (
        "import hashlib; from raykd.data import smallworld_tags;"
        "print(hashlib.sha256(repr(smallworld_tags.sentences('dev', 30)).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest()


def test_impossible_arguments_are_refused():
    with pytest.raises(DataError, match="split: got 'test'"):
        smallworld_tags.sentences("test", 1)
    with pytest.raises(DataError, match="language: got 'xx'"):
        smallworld_tags.sentences("dev", 1, languages=("xx",))


def test_every_word_has_pieces_and_none_is_unknown(tokenizer):
    found = smallworld_tags.sentences("base", 100, seed=3)
    everything = [sentence for part in found.values() for sentence in part]
    features = build_tag_features(
        everything, tokenizer, languages=LANGUAGES, labels=LABELS, scheme="bioes", max_length=64
    )
    assert tokenizer.unk_token_id not in features.tokens
    assert features.counts.unknown_words == features.counts.split_sentences == 0


class Neighbours(torch.nn.Module):
    """Labels a word by its first and last piece and those of the three words on either side."""

    def __init__(self, num_tokens: int, num_labels: int, width: int = 32) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(num_tokens, width)
        self.hidden = torch.nn.Conv1d(2 * width, 2 * width, 7, padding=3)
        self.out = torch.nn.Linear(2 * width, num_labels)

    def forward(self, batch):
        pieces = self.embedding(batch["input_ids"])
        rows = torch.arange(len(pieces))[:, None]
        words = torch.cat([pieces[rows, batch["first"]], pieces[rows, batch["last"]]], dim=-1)
        words = words * batch["word_mask"][..., None]
        return self.out(torch.relu(self.hidden(words.transpose(1, 2)).transpose(1, 2)))


def test_a_tiny_model_learns_two_languages_and_gets_some_of_a_third(tokenizer):
    torch.manual_seed(0)

    def features_of(split, num_items, languages):
        found = smallworld_tags.sentences(split, num_items, languages=languages)
        together = [sentence for part in found.values() for sentence in part]
        options = {"languages": LANGUAGES, "labels": LABELS, "scheme": "bioes", "max_length": 64}
        return together, build_tag_features(together, tokenizer, **options)

    _, train = features_of("train", 400, ("en", "zh"))
    model = Neighbours(len(tokenizer), len(LABELS))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(200):
        batch = train.collate(np.random.default_rng(step).integers(0, len(train), 32))
        loss = torch.nn.functional.cross_entropy(model(batch).transpose(1, 2), batch["tags"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def f1(language):
        gold, features = features_of("dev", 100, (language,))
        with torch.no_grad():
            predicted = model(features.collate(np.arange(len(features)))).argmax(-1).tolist()
        tags = rejoin(features, predicted)
        return score(count(one.tags, tags[number], scheme="bioes") for number, one in enumerate(gold)).f1

    assert f1("en") > 90 and f1("zh") > 60
    assert 5 < f1("es") < 60  # never seen: names help, words do not
