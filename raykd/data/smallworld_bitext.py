"""Parallel sentences of the small world: English and its translations, and labelled pairs of sentences.

A sentence states one fact, worded at random in each language. Names have the endings that `smallworld_names` gives
them, and no name occurs in two splits.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from raykd.data.examples import LabelledPair, SentencePair
from raykd.data.smallworld_names import Fact, NameSource, agree, check, facts_of, spelled
from raykd.data.smallworld_phrases import PHRASES, RELATIONS
from raykd.errors import DataError

_MAX_DRAWS = 1000
"""For a fact that was not stated before; the smallest split has many thousands of facts."""


def pairs(
    split: str, num_pairs: int, *, languages: Sequence[str], seed: int = 0
) -> dict[str, tuple[SentencePair, ...]]:
    """Pairs `sw-{split}-{language}-00000` and on; the same number has the same English sentence in every language.

    The same arguments give the same pairs on every machine. More pairs or other languages never change one. Within a
    split no fact comes twice, so sentences of one language all differ.

    Args:
        split: one of `smallworld_names.SPLITS`.
        num_pairs: of each language, at least 0.
        languages: some of `smallworld_names.LANGUAGES` without English and without repetition.
        seed: which world; the ids do not depend on it.

    Returns:
        Language -> its pairs, in the order of the arguments.

    Raises:
        DataError: if the split or a language is unknown, a language is repeated or English, or `num_pairs` is negative
            or more than the split has facts.
    """
    check(split, num_pairs, languages)
    if "en" in languages:
        raise DataError(f"small world: languages: got {', '.join(languages)}; en is in every pair, name the others")
    found: dict[str, list[SentencePair]] = {language: [] for language in languages}
    for index, fact in enumerate(_distinct_facts(split, num_pairs, seed)):
        english = _stated(fact, "en", random.Random(f"smallworld bitext/{seed}/sw-{split}-en-{index:05d}"))
        for language in languages:
            pair_id = f"sw-{split}-{language}-{index:05d}"
            other = _stated(fact, language, random.Random(f"smallworld bitext/{seed}/{pair_id}"))
            found[language].append(SentencePair(pair_id, language, english, other))
    return {language: tuple(members) for language, members in found.items()}


def labelled(split: str, num_pairs: int, *, languages: Sequence[str], seed: int = 0) -> dict[str, list[LabelledPair]]:
    """Two sentences each, labelled "yes" if they are about the same subject, "no" otherwise; the first two, the next
    two and so on have one of each label.

    Half of the pairs state the same relation twice, in two wordings: with "yes" the same fact, with "no" the same
    answer of two subjects. The others state two relations, and share a subject or nothing. So neither the relation
    nor the number of words in common gives the label away; which name is in common does.

    Ids, repeatability, arguments and errors are those of `pairs`, but English may be among the languages.
    """
    check(split, num_pairs, languages)
    found: dict[str, list[LabelledPair]] = {language: [] for language in languages}
    for index in range(num_pairs):
        facts = _two_facts(split, index, seed)
        label = "yes" if facts[0].subject == facts[1].subject else "no"
        for language in languages:
            pair_id = f"sw-{split}-{language}-{index:05d}"
            rng = random.Random(f"smallworld labelled/{seed}/{pair_id}")
            wordings = {fact.relation: rng.sample(PHRASES[language][fact.relation].statements, 2) for fact in facts}
            first, second = (_worded(fact, wordings[fact.relation][at], language) for at, fact in enumerate(facts))
            found[language].append(LabelledPair(pair_id, language, first, second, label))
    return found


def _distinct_facts(split: str, num_facts: int, seed: int) -> list[Fact]:
    facts: dict[Fact, None] = {}
    for index in range(num_facts):
        rng = random.Random(f"smallworld bitext/{seed}/{split}/{index}")
        for _ in range(_MAX_DRAWS):
            names = NameSource(split, rng)
            known = facts_of(names.draw("person"), names.draw("town"), names, rng)
            fact = known[rng.choice(list(RELATIONS))]
            if fact not in facts:
                break
        else:
            raise DataError(f"small world: num_pairs: got {num_facts}; split {split} has facts for about {index}")
        facts[fact] = None
    return list(facts)


def _two_facts(split: str, index: int, seed: int) -> tuple[Fact, Fact]:
    block, place = divmod(index, 2)
    has_one_subject = random.Random(f"smallworld labelled/{seed}/{split}/block {block}").random() < 0.5
    rng = random.Random(f"smallworld labelled/{seed}/{split}/{index}")
    names = NameSource(split, rng)
    known = facts_of(names.draw("person"), names.draw("town"), names, rng)
    relation = rng.choice(list(RELATIONS))
    kind = RELATIONS[relation][0]
    others = [name for name, (subject_kind, _) in RELATIONS.items() if subject_kind == kind and name != relation]
    first, second = known[relation], known[relation if rng.random() < 0.5 else rng.choice(others)]
    if has_one_subject == bool(place):
        second = replace(second, subject=names.draw(kind))
    return first, second


def _stated(fact: Fact, language: str, rng: random.Random) -> str:
    return _worded(fact, rng.choice(PHRASES[language][fact.relation].statements), language)


def _worded(fact: Fact, pattern: str, language: str) -> str:
    named = agree(pattern, fact).replace("{s}", fact.subject.spelled(language))
    return named.replace("{a}", spelled(fact.answer, language))
