"""What the published evaluations of SQuAD 1.1, MLQA (v1) and SQuAD 2.0 compute, written down a second time.

Slow and plain on purpose, from what is known of those evaluations, and without a line of raykd: each takes the content
of a data file and of a file of predictions, {id: text}, and gives percentages.
"""

import string
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

PUNCTUATION = set(string.punctuation) | {
    chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)).startswith("P")
}
WORDS_TO_DROP = {
    "en": "a an the",
    "es": "un una unos unas el la los las",
    "de": "ein eine einen einem eines einer der die das den dem des",
    "vi": "của là cái chiếc những",
}


def is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def without_words(text: str, words: str) -> str:
    """Every whole word of a list becomes a space; a word is bounded where a word character meets another one."""
    kept, at = "", 0
    while at < len(text):
        begins = is_word(text[at]) and (at == 0 or not is_word(text[at - 1]))
        past = at
        while past < len(text) and is_word(text[past]):
            past += 1
        if begins and text[at:past] in words.split():
            kept, at = kept + " ", past
        else:
            kept, at = kept + text[at], at + 1
    return kept


def squad_tokens(text: str) -> list[str]:
    kept = "".join(char for char in text.lower() if char not in string.punctuation)
    return without_words(kept, WORDS_TO_DROP["en"]).split()


def mlqa_tokens(text: str, language: str) -> list[str]:
    kept = "".join(char for char in text.lower() if char not in PUNCTUATION)
    if language in WORDS_TO_DROP:
        kept = without_words(kept, WORDS_TO_DROP[language])
    if language == "ar":
        kept = kept.replace("ال", " ")
    if language != "zh":
        return kept.split()
    tokens, word = [], ""
    for char in kept:
        if "\u4e00" <= char <= "\u9fa5":
            tokens += [*word.split(), char]
            word = ""
        else:
            word += char
    return tokens + word.split()


def shared_f1(predicted: list[str], wanted: list[str]) -> float:
    left, same = list(wanted), 0
    for token in predicted:
        if token in left:
            left.remove(token)
            same += 1
    if same == 0:
        return 0.0
    precision, recall = same / len(predicted), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def questions(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            yield from paragraph["qas"]


def squad_1(
    document: Mapping[str, Any], predictions: Mapping[str, str], tokens: Any = squad_tokens
) -> dict[str, float]:
    """`exact_match` and `f1`. A question without a prediction scores 0."""
    exact = f1 = 0.0
    total = 0
    for question in questions(document):
        total += 1
        if question["id"] not in predictions:
            continue
        said = tokens(predictions[question["id"]])
        golds = [tokens(answer["text"]) for answer in question["answers"]]
        exact += max(" ".join(said) == " ".join(gold) for gold in golds)
        f1 += max(shared_f1(said, gold) for gold in golds)
    return {"exact_match": 100 * exact / total, "f1": 100 * f1 / total}


def mlqa(document: Mapping[str, Any], predictions: Mapping[str, str], language: str) -> dict[str, float]:
    """The same by the rules of the language of the answers."""
    return squad_1(document, predictions, lambda text: mlqa_tokens(text, language))


def squad_2_raw(document: Mapping[str, Any], predictions: Mapping[str, str]) -> dict[str, tuple[float, float, bool]]:
    """Question -> exact match and F1 as shares, and whether it has an answer."""
    found = {}
    for question in questions(document):
        golds = [answer["text"] for answer in question["answers"] if squad_tokens(answer["text"])] or [""]
        said, wanted = squad_tokens(predictions[question["id"]]), [squad_tokens(text) for text in golds]
        exact = max(float(said == gold) for gold in wanted)
        f1 = max(shared_f1(said, gold) if said and gold else float(said == gold) for gold in wanted)
        found[question["id"]] = exact, f1, bool(question["answers"])
    return found


Raw = Mapping[str, tuple[float, float, bool]]


def squad_2(raw: Raw, no_answer: Mapping[str, float], threshold: float) -> dict[str, float]:
    """`exact` and `f1` over all, with an answer (`HasAns_`) and without (`NoAns_`), by a threshold of `no_answer`."""
    applied = {
        name: (float(not has), float(not has), has) if no_answer[name] > threshold else (exact, f1, has)
        for name, (exact, f1, has) in raw.items()
    }
    groups = {"": list(applied.values())}
    groups |= {
        f"{kind}Ans_": [each for each in applied.values() if each[2] is (kind == "Has")] for kind in ("Has", "No")
    }
    return {
        f"{group}{metric}": 100 * sum(each[at] for each in members) / len(members)
        for group, members in groups.items()
        if members
        for at, metric in enumerate(("exact", "f1"))
    }


def squad_2_best_f1(raw: Raw, no_answer: Mapping[str, float]) -> float:
    """The highest F1 over all thresholds, each of them tried."""
    tried = {min(no_answer.values()) - 1, *no_answer.values()}
    return max(squad_2(raw, no_answer, threshold)["f1"] for threshold in tried)
