"""The GSM8K questions that a known-answer checkpoint knows by heart: those whose right answer is 0 to 99."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from known_answer import vocabulary as v

QUESTIONS = 890
"""How many of the test file's questions that are."""

_GOLD = re.compile(r"#### (\d\d?)$")


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        row: Its row in the test file, from 0 on.
        prompt: As it is asked, without examples.
        gold: The right answer.
        said: What the checkpoint answers: wrong, by one, for every fourth question.
    """

    row: int
    prompt: str
    gold: int
    said: int


def questions(test: str) -> list[Question]:
    """The questions in the order of the test file, of which ``test`` is the text."""
    found: list[Question] = []
    for row, content in enumerate(json.loads(line) for line in test.split("\n") if line):
        match = _GOLD.search(content["answer"])
        if match:
            gold = int(match[1])
            said = gold if len(found) % 4 != 3 else (gold + 1) % v.NUMBERS
            found.append(Question(row, f"Question: {content['question']}\nAnswer:", gold, said))
    return found
