"""Of the points that are named, those that are meant: of one suite, or with words in their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.base.errors import UsageError
from harness.base.settings import cut
from harness.plan.points import Planned

_Test = Callable[[str], bool]
"""Whether an expression holds of a text in small letters."""
_Part = Callable[[str, Iterator[str]], tuple[_Test, str]]
"""Reads a part of an expression from its first word and the words after it; what it says, and the word behind it."""


@dataclass(frozen=True)
class Narrowing:
    """Which points are left of those that are named.

    Attributes:
        suite: Only those of this suite; None: of any.
        keywords: Only those for which this holds, as in pytest's ``-k``: words that are in ``SUITE/NAME[POINT]
            PLATFORM``, in letters of any size, joined by ``and``, ``or``, ``not`` and brackets. None: any.
    """

    suite: str | None = None
    keywords: str | None = None

    def of(self, points: list[Planned]) -> list[Planned]:
        """Those of ``points`` that are left.

        Raises:
            UsageError: The expression is none.
        """
        holds = holding(self.keywords) if self.keywords is not None else lambda _: True
        return [
            each for each in points if self.suite in (None, each.suite) and holds(f"{each.id} {each.platform}".lower())
        ]

    @property
    def said(self) -> list[str]:
        """What is asked for, for a message."""
        return [f"{what} {cut(said)}" for what, said in (("suite", self.suite), ("-k", self.keywords)) if said]


def holding(expression: str) -> _Test:
    """Whether ``expression`` holds of a text in small letters.

    Raises:
        UsageError: It is no expression.
    """
    words = iter([*re.findall(r"[()]|[^\s()]+", expression), ""])
    try:
        test, after = _either(next(words), words)
    except RecursionError:
        raise UsageError("-k: brackets or `not` in one another too many times") from None
    if after:
        raise _wrong(after)
    return test


def _either(word: str, words: Iterator[str]) -> tuple[_Test, str]:
    tests, word = _joined(_both, "or", word, words)
    return (lambda text: any(test(text) for test in tests)), word


def _both(word: str, words: Iterator[str]) -> tuple[_Test, str]:
    tests, word = _joined(_one, "and", word, words)
    return (lambda text: all(test(text) for test in tests)), word


def _joined(part: _Part, by: str, word: str, words: Iterator[str]) -> tuple[list[_Test], str]:
    first, word = part(word, words)
    tests = [first]
    while word.lower() == by:
        another, word = part(next(words), words)
        tests.append(another)
    return tests, word


def _one(word: str, words: Iterator[str]) -> tuple[_Test, str]:
    if word.lower() == "not":
        test, after = _one(next(words), words)
        return (lambda text: not test(text)), after
    if word == "(":
        test, after = _either(next(words), words)
        if after != ")":
            raise _wrong(after)
        return test, next(words)
    if word.lower() in {"", ")", "and", "or"}:
        raise _wrong(word)
    return (lambda text: word.lower() in text), next(words)


def _wrong(word: str) -> UsageError:
    where = f"not at {cut(repr(word))}" if word else "it ends too early"
    return UsageError(f"-k: {where}; words, `and`, `or`, `not` and brackets: -k 'known_answer and not (tp=2 or rocm)'")
