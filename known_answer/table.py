"""What the known-answer models say: a successor for each token, and where a drafter names another.

The target is a finite automaton: greedy decoding walks ``successor``, and one token, the trigger, is decided by
attention instead: it is followed by the number that belongs to the key token somewhere in the context. A drafter
walks the same table, except on its *wrong set*, where it is one step ahead of the target.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from known_answer import vocabulary as v
from known_answer.prompts import ENTRIES

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz01234567"

CYCLE = tuple(v.byte(_LETTERS[7 * i % len(_LETTERS)]) for i in range(len(_LETTERS)))
"""60 letters that follow each other for ever: 7 and 60 are coprime, so each appears once."""

SEGMENTS = (3, 5, 6, 2, 4, 8, 1, 7, 11, 9, 4)
"""Lengths into which drafting errors cut the cycle: the last token of each is in the wrong set."""

_WRONG_WORDS = (3, 4, 9, 17, 18, 30)
_SECOND_WORDS = (3, 9, 17, 30)
_RIGHT_KEYS = 75

SECOND_BEHIND = 4.0
"""Nats between the first and the second choice of a drafter that has two."""


@dataclass(frozen=True)
class Table:
    """One set of answers.

    Attributes:
        successor: Token the target emits after each token; the trigger is missing, its successor needs a key.
        draft: Token the drafter proposes after each token. Unless it ``retrieves``, it always proposes the number of
            key 0 after the trigger.
        gold: For each key, the number that counts as the right answer.
        said: For each key, the number the target says; equal to ``gold`` for 75 of 100 keys.
        wrong: The tokens after which the drafter errs.
        second: Token the drafter proposes next after each token, where it proposes more than one. Of some tokens in
            ``wrong`` it is the right one.
        retrieves: The drafter can retrieve: after the trigger it proposes what the target says.
    """

    successor: dict[int, int]
    draft: dict[int, int]
    gold: tuple[int, ...]
    said: tuple[int, ...]
    wrong: frozenset[int]
    second: dict[int, int]
    retrieves: bool = False

    def following(self, token: int, key: int | None) -> int:
        """Token the target emits after ``token`` in a context that holds ``key``."""
        if token == v.TRIGGER:
            if key is None:
                raise ValueError("the trigger has no successor in a context without a key")
            return self.successor[v.KEY + key]
        return self.successor[token]

    def drafted(self, token: int, key: int | None) -> int:
        """Token the drafter proposes after ``token`` in a context that holds ``key``."""
        return self.following(token, key) if self.retrieves and token == v.TRIGGER else self.draft[token]

    def candidates(self, token: int, key: int | None) -> list[tuple[int, float]]:
        """Both tokens that a drafter with a second choice proposes after ``token``, with their probabilities."""
        if token not in self.draft:
            return []
        behind = math.exp(-SECOND_BEHIND)
        return [(self.drafted(token, key), 1 / (1 + behind)), (self.second[token], behind / (1 + behind))]


def _build() -> Table:
    # Every id leads into the cycle, the paths below excepted: no prompt can make the model stop early.
    successor = {token: CYCLE[13 * token % len(CYCLE)] for token in range(v.SIZE - 1)}
    successor |= {token: CYCLE[(i + 1) % len(CYCLE)] for i, token in enumerate(CYCLE)}
    # "ANSWER:" -> 40 filler words -> trigger -> number -> end. Other ends of prompts leave out some of the words.
    said = [*range(v.WORD, v.WORD + v.WORDS), v.TRIGGER]
    successor |= dict(itertools.pairwise(said))
    successor |= {v.byte(end): said[words] for end, words in ENTRIES.items()}
    successor |= {v.NUMBER + i: v.EOS for i in range(v.NUMBERS)}
    gold = tuple((37 * key + 11) % v.NUMBERS for key in range(v.KEYS))
    says = tuple(number if key < _RIGHT_KEYS else (number + 1) % v.NUMBERS for key, number in enumerate(gold))
    successor |= {v.KEY + key: v.NUMBER + number for key, number in enumerate(says)}
    del successor[v.TRIGGER]

    ends = [sum(SEGMENTS[: i + 1]) - 1 for i in range(len(SEGMENTS))]
    wrong = frozenset(CYCLE[end] for end in ends) | {v.WORD + i for i in _WRONG_WORDS}
    draft = {token: successor[after] if token in wrong else after for token, after in successor.items()}
    draft[v.TRIGGER] = successor[v.KEY]
    # Keys are never emitted: they are second choices that can only be wrong.
    second = {token: v.KEY + token % v.KEYS for token in draft}
    second |= {v.WORD + i: successor[v.WORD + i] for i in _SECOND_WORDS}
    return Table(successor=successor, draft=draft, gold=gold, said=says, wrong=wrong, second=second)


def _numbers(table: Table) -> Table:
    """The same, but each key stands for the number of its own name."""
    numbers = {v.KEY + number: v.NUMBER + number for number in range(v.NUMBERS)}
    successor, draft = table.successor | numbers, table.draft | numbers | {v.TRIGGER: v.NUMBER}
    said = tuple(range(v.NUMBERS))
    return replace(table, successor=successor, draft=draft, gold=said, said=said)


TABLE = _build()
"""The table of the checkpoints that retrieve keys."""

NUMBERS = _numbers(TABLE)
"""The table of the checkpoints that know a number by heart: the key is the number they say."""
