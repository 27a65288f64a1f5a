"""Named entities of the small world: its people, places and rivers, tagged in seven parallel languages.

A sentence states one or two facts. Types are PER, LOC (towns and islands) and RIVER; a year is no entity. Two in five
names have two words, the second of which keeps the ending that tells what is named. A tiny model learns a language in
seconds. Of one that it never saw it gets some: names are spelled alike in English, German and Spanish.

A word is what white space and closing punctuation part; in Chinese it is one character, or the digits of a year.
"""

import random
import re
from collections.abc import Sequence

from raykd.data.examples import Sentence
from raykd.data.smallworld_names import LANGUAGES, Fact, Name, NameSource, agree, check, facts_of, spelled
from raykd.data.smallworld_phrases import PHRASES, RELATIONS
from raykd.data.tags import Scheme, Span, encode

TYPES = {
    "person": "PER",
    "teacher": "PER",
    "founder": "PER",
    "town": "LOC",
    "island": "LOC",
    "river": "RIVER",
}
"""What is named -> its type; years have none."""

_TWO_WORD_SHARE = 0.4
_TWO_FACTS_SHARE = 0.4
_UNSPACED = {"zh"}
_PUNCTUATION = ".।"


def sentences(
    split: str, num_items: int, *, languages: Sequence[str] = LANGUAGES, seed: int = 0, scheme: Scheme = "bioes"
) -> dict[str, list[Sentence]]:
    """Sentences `sw-{split}-{language}-00000` and on; the same number states the same facts in every language.

    The same arguments give the same sentences on every machine. More items or other languages never change one. No
    word of a name occurs in two splits.

    Args:
        split: one of `smallworld_names.SPLITS`.
        num_items: sentences of each language, at least 0.
        languages: some of `LANGUAGES`, without repetition.
        seed: which world; the ids do not depend on it.
        scheme: of the tags, any that has chunks.

    Returns:
        Language -> its sentences, in the order of the arguments.

    Raises:
        DataError: if the split or a language is unknown, a language is repeated or `num_items` is negative.
    """
    check(split, num_items, languages)
    found: dict[str, list[Sentence]] = {language: [] for language in languages}
    for index in range(num_items):
        facts, first_words = _draw(split, index, seed)
        for language in languages:
            sentence_id = f"sw-{split}-{language}-{index:05d}"
            rng = random.Random(f"smallworld tags/{seed}/{sentence_id}")
            found[language].append(_render(sentence_id, facts, first_words, language, scheme, rng))
    return found


def _draw(split: str, index: int, seed: int) -> tuple[list[Fact], dict[Name, Name]]:
    """The facts of a sentence, and the first words of the names that have two."""
    rng = random.Random(f"smallworld tags/{seed}/{split}/{index}")
    names = NameSource(split, rng)
    known = facts_of(names.draw("person"), names.draw("town"), names, rng)
    num_facts = 2 if rng.random() < _TWO_FACTS_SHARE else 1
    facts = [known[relation] for relation in rng.sample(list(RELATIONS), num_facts)]
    first_words: dict[Name, Name] = {}
    for side in (side for fact in facts for side in (fact.subject, fact.answer)):
        if isinstance(side, Name) and rng.random() < _TWO_WORD_SHARE:
            first_words[side] = _first_word(side, split, rng)
    return facts, first_words


def _first_word(name: Name, split: str, rng: random.Random) -> Name:
    # Sentences agree with the last word; a first name of the other gender would contradict them.
    while True:
        word = NameSource(split, rng).draw("person")
        if word.is_feminine == name.is_feminine and word.syllables[0] != name.syllables[0]:
            return word


def _render(
    sentence_id: str,
    facts: list[Fact],
    first_words: dict[Name, Name],
    language: str,
    scheme: Scheme,
    rng: random.Random,
) -> Sentence:
    words: list[str] = []
    chunks: list[Span] = []
    for fact in facts:
        subject_kind, answer_kind = RELATIONS[fact.relation]
        sides = {"{s}": (fact.subject, subject_kind), "{a}": (fact.answer, answer_kind)}
        pattern = agree(rng.choice(PHRASES[language][fact.relation].statements), fact)
        for part in re.split(r"(\{[sa]\})", pattern):
            side, kind = sides.get(part, (None, None))
            if side is None:
                words += _words(part, language)
                continue
            named = [first_words[side], side] if side in first_words else [side]
            before = len(words)
            words += _words(" ".join(spelled(word, language) for word in named), language)
            if kind in TYPES:
                chunks.append((TYPES[kind], before, len(words) - 1))
    return Sentence(sentence_id, language, tuple(words), encode(chunks, len(words), scheme))


def _words(text: str, language: str) -> list[str]:
    if language in _UNSPACED:
        return re.findall(r"\d+|\S", text)
    return re.findall(rf"[^\s{_PUNCTUATION}]+|[{_PUNCTUATION}]", text)
