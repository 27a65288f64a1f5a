"""Cross-lingual sampling: from parallel items to pairs of question language and context language.

After Carrino et al. 2023 (arXiv:2309.17134), with one difference: the languages of an item are drawn from a generator
of its own, over sorted languages. So the draw for an item depends on the seed and its id alone: nested budgets of
items give nested examples, and a larger number of languages keeps the languages of a smaller one.
"""

import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from raykd.data.examples import ParallelQA, QAExample
from raykd.data.squad import compose
from raykd.errors import DataError

ViewMode = Literal["q-random", "q-en-diag"]


def cross_lingual_pairs(
    items: ParallelQA,
    *,
    num_target_languages: int,
    languages: Sequence[str],
    seed: int,
    english_centric: bool = True,
    pivot: str = "en",
) -> list[QAExample]:
    """All (question language, context language) pairs of the pivot and `num_target_languages` drawn languages per item.

    Context and answers come from the context language. An example's id is `{item id}_{question}-{context}`.
    Examples are in the order of `items`, then of question and context language.

    Args:
        items: the parallel items; an item may lack languages.
        num_target_languages: 0: the diagonal alone (question and context in one language), of all languages, so 0
            may give more examples than 1. At or above the number of target languages of an item: all its languages.
        languages: those to use, the pivot among them.
        seed: of the draw.
        english_centric: the pivot is in every draw, beyond `num_target_languages`; otherwise it is drawn like others.
        pivot: the language that `english_centric` means.

    Raises:
        DataError: if the pivot is needed, but is not in `languages` or an item lacks it.
        ValueError: if `num_target_languages` is negative.
    """
    if num_target_languages < 0:
        raise ValueError(f"num_target_languages must be at least 0, got {num_target_languages}")
    if english_centric and pivot not in languages:
        raise DataError(f"pivot language {pivot} is not among the languages {', '.join(languages)}")
    examples = []
    for qid, item in items.items():
        available = sorted(item.keys() & set(languages))
        if english_centric and pivot not in available:
            raise DataError(f"id {qid}: lacks the pivot language {pivot}")
        targets = [language for language in available if not (english_centric and language == pivot)]
        if num_target_languages == 0:
            examples += [_pair(qid, item, language, language) for language in available]
            continue
        # Shuffled whole, then cut: a sample of n languages is then a part of a sample of n + 1.
        random.Random(f"{seed}:{qid}").shuffle(targets)
        drawn = sorted({*targets[:num_target_languages], *([pivot] if english_centric else [])})
        examples += [_pair(qid, item, question, context) for question in drawn for context in drawn]
    return examples


def pair_statistics(examples: Iterable[QAExample]) -> dict[str, object]:
    """Number of examples, in all and per pair of languages ("en-de": question en, context de).

    Returns:
        `examples`, `pairs` (sorted by name), `mean` and `stdev` (of the sample; 0 for fewer than two pairs) of the
        counts of the pairs that occur.
    """
    pairs = Counter(f"{example.question_language}-{example.context_language}" for example in examples)
    counts = list(pairs.values())
    return {
        "examples": sum(counts),
        "pairs": dict(sorted(pairs.items())),
        "mean": statistics.fmean(counts) if counts else 0.0,
        "stdev": statistics.stdev(counts) if len(counts) > 1 else 0.0,
    }


def parallel_view(
    examples: Sequence[QAExample], items: ParallelQA, *, mode: ViewMode, seed: int, pivot: str = "en"
) -> dict[str, QAExample]:
    """What the teacher reads in place of each example: the same context, the question in another language.

    The context is the example's own, so positions in it can be mapped one to one.

    Args:
        examples: from `cross_lingual_pairs` over `items`; all examples of an item together.
        items: the parallel items.
        mode: "q-random": the question in another one, drawn at random, of the languages that the item's examples ask
            in. "q-en-diag": the question in the pivot language; if the example asks in it already, the question in
            the language of the context. Where there is no other language, the example itself.
        seed: of the draw.
        pivot: the language that "en" means.

    Returns:
        Example id -> view. A view's id names its own pair, so equal views of several examples share one id.

    Raises:
        DataError: if an item lacks the language of a view.
        ValueError: if the mode is unknown.
    """
    if mode not in ("q-random", "q-en-diag"):
        raise ValueError(f"unknown mode {mode!r}; allowed: q-random, q-en-diag")
    asked = defaultdict(set)
    for example in examples:
        asked[_item_id(example)].add(example.question_language)
    views = {}
    for example in examples:
        qid, current, context = _item_id(example), example.question_language, example.context_language
        if mode == "q-random":
            others = sorted(asked[qid] - {current})
            language = random.Random(f"{seed}:{example.id}").choice(others) if others else current
        else:
            language = context if current == pivot else pivot
        if language not in items[qid]:
            raise DataError(f"id {qid}: lacks the language {language} of the teacher's view")
        views[example.id] = _pair(qid, items[qid], language, context)
    return views


def _pair(qid: str, item: Mapping[str, QAExample], question: str, context: str) -> QAExample:
    return replace(compose(item, question, context), id=f"{qid}_{question}-{context}")


def _item_id(example: QAExample) -> str:
    return example.id.removesuffix(f"_{example.question_language}-{example.context_language}")
