"""The built-in world as files, as users have theirs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from raykd.data import smallworld, smallworld_tags
from raykd.data.examples import Sentence


def tagged_sentences(languages: Sequence[str], count: int) -> dict[str, list[Sentence]]:
    """Training sentences by language, with the ids that they have in a file."""
    made = smallworld_tags.sentences("train", count, languages=languages, scheme="iob2")
    return {
        language: [replace(each, id=f"{language}-{number:06d}") for number, each in enumerate(members)]
        for language, members in made.items()
    }


def write_tagged(folder: Path, sentences: Mapping[str, Sequence[Sentence]]) -> None:
    """`LANGUAGE.tsv`: a word and its tag in each line."""
    for language, members in sentences.items():
        blocks = ["\n".join("\t".join(pair) for pair in zip(each.words, each.tags, strict=True)) for each in members]
        (folder / f"{language}.tsv").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def write_questions(folder: Path, languages: Sequence[str], count: int, *, wrong: Sequence[str] = ()) -> None:
    """`LANGUAGE.json` in SQuAD form.

    Args:
        wrong: ids whose answer is the first word of the context, whatever is asked.
    """
    items = smallworld.parallel_items("train", count, languages=languages)
    for language in languages:
        paragraphs = []
        for name, item in items.items():
            example = item[language]
            (answer,) = example.answers
            found = {"text": answer.text, "answer_start": answer.start}
            if name in wrong:
                found = {"text": example.context[:2].strip() or example.context[:3], "answer_start": 0}
            asked = {"id": name, "question": example.question, "answers": [found]}
            paragraphs.append({"context": example.context, "qas": [asked]})
        (folder / f"{language}.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
