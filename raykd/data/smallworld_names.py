"""The names and facts of the small world: how names are built and spelled, and which split each belongs to."""

import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from raykd.data.smallworld_phrases import (
    CODAS,
    CONSONANTS,
    HAN_CODAS,
    HAN_SYLLABLES,
    RELATIONS,
    SCRIPTS,
    VOWELS,
)
from raykd.errors import DataError

LANGUAGES: tuple[str, ...] = tuple(SCRIPTS)
SPLITS: tuple[str, ...] = ("base", "train", "dev")

_FOUNDING_YEARS = range(1400, 1700)
_BIRTH_YEARS = range(1700, 1910)
_AVOIDED = {"hamas", "homo", "kafir", "koran", "satan", "sodom"}

SYLLABLES = tuple(c + v for c in CONSONANTS["latin"] for v in VOWELS["latin"])
"""What names are made of, in Latin letters."""
SPELLING = {
    script: dict(zip(SYLLABLES, (c + v for c in CONSONANTS[script] for v in VOWELS[script]), strict=True))
    | {coda: CONSONANTS[script][CONSONANTS["latin"].index(coda)] for coda in CODAS.values()}
    for script in CONSONANTS
} | {"han": dict(zip((*SYLLABLES, *CODAS.values()), (*HAN_SYLLABLES, *HAN_CODAS), strict=True))}
"""Script -> how it writes each syllable and each closing consonant."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name as its Latin syllables, of which the last may be a lone consonant. A woman's last vowel is an a."""

    syllables: tuple[str, ...]

    @property
    def is_feminine(self) -> bool:
        return "".join(self.syllables).rstrip("".join(CODAS.values())).endswith("a")

    def spelled(self, language: str) -> str:
        """The name in the script of the language, with a capital where there are some."""
        script = SCRIPTS[language]
        text = "".join(SPELLING[script][syllable] for syllable in self.syllables)
        return text[0].upper() + text[1:]


@dataclass(frozen=True, slots=True)
class Fact:
    """One relation of `RELATIONS` with its two sides; a year is an int."""

    relation: str
    subject: Name
    answer: Name | int


def check(split: str, num_items: int, languages: Sequence[str]) -> None:
    """Refuse what the small world cannot generate.

    Raises:
        DataError: if the split or a language is unknown, a language is repeated or `num_items` is negative.
    """
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


def split_of(name: str) -> str:
    """The one split in which a name, in Latin letters, may occur."""
    # A checksum and not hash(): hash() of a string differs from one process to the next.
    part = zlib.crc32(name.encode()) % 10
    return "base" if part < 6 else "train" if part < 9 else "dev"


class NameSource:
    """Draws names of one split. No two of them begin with the same syllable, so none is the start of another."""

    def __init__(self, split: str, rng: random.Random) -> None:
        self._split = split
        self._rng = rng
        self._first_syllables: set[str] = set()

    def draw(self, kind: str) -> Name:
        """A name for a kind of `CODAS`, or for a "person"."""
        ending = (CODAS[kind],) if kind in CODAS else ()
        is_of_people = kind in ("person", "teacher", "founder")
        last_syllables = [syllable for syllable in SYLLABLES if not is_of_people or syllable[-1] in "ao"]
        while True:
            first, last = self._rng.choice(SYLLABLES), self._rng.choice(last_syllables)
            syllables = (first, last, *ending)
            text = "".join(syllables)
            if first in self._first_syllables or first == last or text in _AVOIDED or split_of(text) != self._split:
                continue
            self._first_syllables.add(first)
            return Name(syllables)


def facts_of(person: Name, town: Name, names: NameSource, rng: random.Random) -> dict[str, Fact]:
    """One fact for each of `RELATIONS`, about this person and this town."""
    born = rng.choice(_BIRTH_YEARS)
    answers: dict[str, Name | int] = {
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
        relation: Fact(relation, person if RELATIONS[relation][0] == "person" else town, answer)
        for relation, answer in answers.items()
    }


def spelled(answer: Name | int, language: str) -> str:
    """A name in the script of the language, or the digits of a year."""
    return str(answer) if isinstance(answer, int) else answer.spelled(language)


def agree(pattern: str, fact: Fact) -> str:
    """The pattern with the forms that agree with the gender of subject (`[m|f]`) and answer (`<m|f>`)."""
    subject_form = 2 if fact.subject.is_feminine else 1
    answer_form = 2 if isinstance(fact.answer, Name) and fact.answer.is_feminine else 1
    pattern = re.sub(r"\[(.*?)\|(.*?)\]", rf"\{subject_form}", pattern)
    return re.sub(r"<(.*?)\|(.*?)>", rf"\{answer_form}", pattern)
