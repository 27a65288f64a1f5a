"""A small world of invented people and towns: parallel extractive question answering in seven languages.

Every text comes from the pattern tables in `smallworld_phrases`; no foreign data is read. A context is 3 to 6
sentences, one fact each, in random order, so the position of a sentence does not tell the answer. The ending of a
name tells what it names (a river, a teacher), which lets a tiny model learn most questions in seconds; a year of birth
or of death, and the contexts that hold the asked fact of two subjects, need the sentence and its subject too.
"""

import random
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from raykd.data.examples import Answer, ParallelQA, QAExample
from raykd.data.smallworld_phrases import (
    CODAS,
    CONSONANTS,
    HAN_CODAS,
    HAN_SYLLABLES,
    PHRASES,
    RELATIONS,
    SCRIPTS,
    SENTENCE_GAP,
    VOWELS,
)
from raykd.errors import DataError

LANGUAGES: tuple[str, ...] = tuple(SCRIPTS)
SPLITS: tuple[str, ...] = ("base", "train", "dev")

_RIVAL_SHARE = 0.15
"""Share of the contexts that hold the asked fact of a second subject as well."""
_FOUNDING_YEARS = range(1400, 1700)
_BIRTH_YEARS = range(1700, 1910)
_AVOIDED = {"hamas", "homo", "kafir", "koran", "satan", "sodom"}
_SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_SYLLABLES = tuple(c + v for c in CONSONANTS["latin"] for v in VOWELS["latin"])
_SPELLING = {
    script: dict(zip(_SYLLABLES, (c + v for c in CONSONANTS[script] for v in VOWELS[script]), strict=True))
    | {coda: CONSONANTS[script][CONSONANTS["latin"].index(coda)] for coda in CODAS.values()}
    for script in CONSONANTS
} | {"han": dict(zip((*_SYLLABLES, *CODAS.values()), (*HAN_SYLLABLES, *HAN_CODAS), strict=True))}


@dataclass(frozen=True, slots=True)
class _Name:
    """A name as its Latin syllables, of which the last may be a lone consonant. A woman's last vowel is an a."""

    syllables: tuple[str, ...]

    @property
    def is_feminine(self) -> bool:
        return "".join(self.syllables).rstrip("".join(CODAS.values())).endswith("a")

    def spelled(self, language: str) -> str:
        script = SCRIPTS[language]
        text = "".join(_SPELLING[script][syllable] for syllable in self.syllables)
        return text[0].upper() + text[1:]


@dataclass(frozen=True, slots=True)
class _Fact:
    relation: str
    subject: _Name
    answer: _Name | int


def parallel_items(split: str, num_items: int, *, languages: Sequence[str] = LANGUAGES, seed: int = 0) -> ParallelQA:
    """Items `sw-{split}-00000` and on, each with the same facts and the same question in every language.

    The same arguments give the same items on every machine. More items or other languages never change an item.
    No name occurs in two splits.

    Args:
        split: one of `SPLITS`.
        num_items: at least 0.
        languages: some of `LANGUAGES`, without repetition.
        seed: which world; the ids do not depend on it.

    Returns:
        Item id -> language -> example with one answer; its context is in the language of its question.

    Raises:
        DataError: if the split or a language is unknown, a language is repeated or `num_items` is negative.
    """
    _check(split, num_items, languages)
    items: ParallelQA = {}
    for index in range(num_items):
        item_id = f"sw-{split}-{index:05d}"
        rng = random.Random(f"smallworld/{seed}/{split}/{index}")
        asked, facts = _draw_facts(split, _asked_relation(split, index, seed), rng)
        items[item_id] = {
            language: _render(item_id, asked, facts, language, random.Random(f"smallworld/{seed}/{item_id}/{language}"))
            for language in languages
        }
    return items


def monolingual(split: str, num_items: int, *, language: str = "en", seed: int = 0) -> list[QAExample]:
    """One language of `parallel_items`, in the same order and with the same ids.

    Raises:
        DataError: as `parallel_items`.
    """
    items = parallel_items(split, num_items, languages=(language,), seed=seed)
    return [translations[language] for translations in items.values()]


def corpus(*, languages: Sequence[str] = LANGUAGES, num_items: int = 400, seed: int = 0) -> Iterator[str]:
    """The contexts and questions of `num_items` items of the base split, for a tokenizer to count.

    Raises:
        DataError: as `parallel_items`.
    """
    for translations in parallel_items("base", num_items, languages=languages, seed=seed).values():
        for example in translations.values():
            yield example.context
            yield example.question


def build_tokenizer(folder: Path, vocab_size: int = 4000) -> None:
    """Write a fast WordPiece tokenizer of the small world that `AutoTokenizer.from_pretrained(folder)` loads.

    Its vocabulary is the special tokens, every character, the syllables of names, pairs of digits (a year is two
    tokens) and then the commonest words of `corpus`. A pair is `[CLS] A [SEP] B [SEP]` with type ids 0 and 1.
    The same `vocab_size` gives the same bytes.

    Args:
        folder: created if it is missing; its tokenizer files are overwritten.
        vocab_size: the most entries the vocabulary may have; the small world fills about 1,300.

    Raises:
        DataError: if `vocab_size` has no room for the entries that come before the words.
    """
    tokenizer = Tokenizer(models.WordPiece(vocab={"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for line in corpus():
        normalized = tokenizer.normalizer.normalize_str(line)
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized))
    vocabulary = {token: i for i, token in enumerate(_vocabulary(words, vocab_size))}
    tokenizer.model = models.WordPiece(vocab=vocabulary, unk_token="[UNK]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    named = {f"{role}_token": token for role, token in _SPECIAL_TOKENS.items()}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **named,
    ).save_pretrained(folder)


def _check(split: str, num_items: int, languages: Sequence[str]) -> None:
    problems = []
    if split not in SPLITS:
        problems.append(f"small world: split: got {split!r}; allowed: {', '.join(SPLITS)}")
    problems += [
        f"small world: language: got {language!r}; allowed: {', '.join(LANGUAGES)}"
        for language in languages
        if language not in LANGUAGES
    ]
    if len(set(languages)) < len(languages):
        problems.append(f"small world: languages: got {', '.join(languages)}; name each language once")
    if num_items < 0:
        problems.append(f"small world: num_items: got {num_items}; allowed: 0 or more")
    if problems:
        raise DataError(problems)


def _split_of(name: str) -> str:
    # A checksum and not hash(): hash() of a string differs from one process to the next.
    part = zlib.crc32(name.encode()) % 10
    return "base" if part < 6 else "train" if part < 9 else "dev"


class _NameSource:
    """Draws names of one split. No two of them begin with the same syllable, so none is the start of another."""

    def __init__(self, split: str, rng: random.Random) -> None:
        self._split = split
        self._rng = rng
        self._first_syllables: set[str] = set()

    def draw(self, kind: str) -> _Name:
        ending = (CODAS[kind],) if kind in CODAS else ()
        is_of_people = kind in ("person", "teacher", "founder")
        last_syllables = [syllable for syllable in _SYLLABLES if not is_of_people or syllable[-1] in "ao"]
        while True:
            first, last = self._rng.choice(_SYLLABLES), self._rng.choice(last_syllables)
            syllables = (first, last, *ending)
            text = "".join(syllables)
            if first in self._first_syllables or first == last or text in _AVOIDED or _split_of(text) != self._split:
                continue
            self._first_syllables.add(first)
            return _Name(syllables)


def _asked_relation(split: str, index: int, seed: int) -> str:
    """Every run of as many items as there are relations, from the first on, asks each relation once."""
    block, place = divmod(index, len(RELATIONS))
    order = list(RELATIONS)
    random.Random(f"smallworld/{seed}/{split}/block {block}").shuffle(order)
    return order[place]


def _draw_facts(split: str, asked_relation: str, rng: random.Random) -> tuple[_Fact, list[_Fact]]:
    """The asked fact and all facts of a context in their order, the asked one among them."""
    names = _NameSource(split, rng)
    town = names.draw("town")
    facts = _facts_of(names.draw("person"), town, names, rng)
    asked = facts.pop(asked_relation)
    chosen = [asked, *rng.sample(list(facts.values()), rng.randint(2, 4))]
    if rng.random() < _RIVAL_SHARE:
        chosen.append(_facts_of(names.draw("person"), names.draw("town"), names, rng)[asked_relation])
    rng.shuffle(chosen)
    return asked, chosen


def _facts_of(person: _Name, town: _Name, names: _NameSource, rng: random.Random) -> dict[str, _Fact]:
    born = rng.choice(_BIRTH_YEARS)
    answers: dict[str, _Name | int] = {
        "birth year": born,
        "death year": born + rng.randint(25, 89),
        "birthplace": town,
        "teacher": names.draw("teacher"),
        "discovery": names.draw("island"),
        "founding year": rng.choice(_FOUNDING_YEARS),
        "founder": names.draw("founder"),
        "river": names.draw("river"),
    }
    return {
        relation: _Fact(relation, person if RELATIONS[relation][0] == "person" else town, answer)
        for relation, answer in answers.items()
    }


def _render(item_id: str, asked: _Fact, facts: list[_Fact], language: str, rng: random.Random) -> QAExample:
    context, answer = "", None
    for fact in facts:
        if context:
            context += SENTENCE_GAP.get(language, " ")
        pattern = _agree(rng.choice(PHRASES[language][fact.relation].statements), fact)
        before, after = pattern.replace("{s}", fact.subject.spelled(language)).split("{a}")
        text = _spelled(fact.answer, language)
        if fact is asked:
            answer = Answer(text=text, start=len(context) + len(before))
        context += before + text + after
    assert answer is not None
    question = _agree(rng.choice(PHRASES[language][asked.relation].questions), asked)
    return QAExample(
        id=item_id,
        question=question.replace("{s}", asked.subject.spelled(language)),
        context=context,
        answers=(answer,),
        question_language=language,
        context_language=language,
    )


def _spelled(answer: _Name | int, language: str) -> str:
    return str(answer) if isinstance(answer, int) else answer.spelled(language)


def _agree(pattern: str, fact: _Fact) -> str:
    subject_form = 2 if fact.subject.is_feminine else 1
    answer_form = 2 if isinstance(fact.answer, _Name) and fact.answer.is_feminine else 1
    pattern = re.sub(r"\[(.*?)\|(.*?)\]", rf"\{subject_form}", pattern)
    return re.sub(r"<(.*?)\|(.*?)>", rf"\{answer_form}", pattern)


def _vocabulary(words: Counter[str], vocab_size: int) -> list[str]:
    """The entries in their order. Words that the pieces of names and years spell out get none of their own."""
    pieces = {piece for spelling in _SPELLING.values() for piece in spelling.values()}
    pieces |= {f"{pair:02d}" for pair in range(100)}
    characters = {character for word in (*words, *pieces) for character in word}
    starts = characters | pieces | {piece.capitalize() for piece in pieces}
    required = [*_SPECIAL_TOKENS.values(), *sorted(starts), *sorted(f"##{piece}" for piece in characters | pieces)]
    if vocab_size < len(required):
        raise DataError(f"small world: vocab_size: got {vocab_size}; allowed: {len(required)} or more")
    syllables = {spelling[syllable] for spelling in _SPELLING.values() for syllable in _SYLLABLES}
    name = re.compile(rf"(?:{'|'.join(sorted(syllables))}){{2}}.?")
    # Ties are broken by the word itself: the order of counting has no say.
    common = sorted(words, key=lambda word: (-words[word], word))
    kept = [word for word in common if word not in starts and not name.fullmatch(word.lower()) and not word.isdigit()]
    return required + kept[: vocab_size - len(required)]
