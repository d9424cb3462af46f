"""What all readings of GSM8K share: its rows, the form of a question, and numbers in answers."""

from __future__ import annotations

import ast
import json
import re
from typing import TypedDict

TEST_ROWS = 1319
"""Rows of the test file; the training file has 7,473."""


class Row(TypedDict):
    """One line of a data file; ``answer`` is worked out and ends in ``#### NUMBER``."""

    question: str
    answer: str


def rows(text: str) -> list[Row]:
    """The rows of a data file."""
    return [json.loads(line) for line in text.split("\n") if line]


def question(row: Row) -> str:
    """A question that is still open: without a space at its end."""
    return f"Question: {row['question']}\nAnswer:"


def solved(examples: list[Row]) -> str:
    """Examples with their whole answers, as they go before a question; a blank line ends each."""
    return "".join(f"{question(row)} {row['answer']}\n\n" for row in examples)


def last_number(pattern: re.Pattern[str], text: str) -> str | None:
    """The last match of ``pattern`` once commas are gone, in one spelling for equal numbers (18 is 18.0).

    None if there is no match, or if Python reads no number from it: so a whole number may not begin with zeros.
    """
    numbers = pattern.findall(text.replace(",", ""))
    if not numbers:
        return None
    try:
        value = ast.literal_eval(numbers[-1])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
