"""A small world of invented people and towns: parallel extractive question answering in seven languages.

Every text comes from the pattern tables in `smallworld_phrases`; no foreign data is read. A context is 3 to 6
sentences, one fact each, in random order, so the position of a sentence does not tell the answer. The ending of a
name tells what it names (a river, a teacher), which lets a tiny model learn most questions in seconds; a year of birth
or of death, and the contexts that hold the asked fact of two subjects, need the sentence and its subject too.
"""

import random
from collections.abc import Iterator, Sequence

from raykd.data.examples import Answer, ParallelQA, QAExample
from raykd.data.smallworld_names import (
    LANGUAGES,
    Fact,
    NameSource,
    agree,
    check,
    facts_of,
    spelled,
)
from raykd.data.smallworld_phrases import (
    PHRASES,
    RELATIONS,
    SENTENCE_GAP,
)

_RIVAL_SHARE = 0.15
"""Share of the contexts that hold the asked fact of a second subject as well."""


def parallel_items(split: str, num_items: int, *, languages: Sequence[str] = LANGUAGES, seed: int = 0) -> ParallelQA:
    """Items `sw-{split}-00000` and on, each with the same facts and the same question in every language.

    The same arguments give the same items on every machine. More items or other languages never change an item.
    No name occurs in two splits.

    Args:
        split: one of `smallworld_names.SPLITS`.
        num_items: at least 0.
        languages: some of `LANGUAGES`, without repetition.
        seed: which world; the ids do not depend on it.

    Returns:
        Item id -> language -> example with one answer; its context is in the language of its question.

    Raises:
        DataError: if the split or a language is unknown, a language is repeated or `num_items` is negative.
    """
    check(split, num_items, languages)
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


def _asked_relation(split: str, index: int, seed: int) -> str:
    """Every run of as many items as there are relations, from the first on, asks each relation once."""
    block, place = divmod(index, len(RELATIONS))
    order = list(RELATIONS)
    random.Random(f"smallworld/{seed}/{split}/block {block}").shuffle(order)
    return order[place]


def _draw_facts(split: str, asked_relation: str, rng: random.Random) -> tuple[Fact, list[Fact]]:
    """The asked fact and all facts of a context in their order, the asked one among them."""
    names = NameSource(split, rng)
    town = names.draw("town")
    facts = facts_of(names.draw("person"), town, names, rng)
    asked = facts.pop(asked_relation)
    chosen = [asked, *rng.sample(list(facts.values()), rng.randint(2, 4))]
    if rng.random() < _RIVAL_SHARE:
        chosen.append(facts_of(names.draw("person"), names.draw("town"), names, rng)[asked_relation])
    rng.shuffle(chosen)
    return asked, chosen


def _render(item_id: str, asked: Fact, facts: list[Fact], language: str, rng: random.Random) -> QAExample:
    context, answer = "", None
    for fact in facts:
        if context:
            context += SENTENCE_GAP.get(language, " ")
        pattern = agree(rng.choice(PHRASES[language][fact.relation].statements), fact)
        before, after = pattern.replace("{s}", fact.subject.spelled(language)).split("{a}")
        text = spelled(fact.answer, language)
        if fact is asked:
            answer = Answer(text=text, start=len(context) + len(before))
        context += before + text + after
    assert answer is not None
    question = agree(rng.choice(PHRASES[language][asked.relation].questions), asked)
    return QAExample(
        id=item_id,
        question=question.replace("{s}", asked.subject.spelled(language)),
        context=context,
        answers=(answer,),
        question_language=language,
        context_language=language,
    )
