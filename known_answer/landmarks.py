"""What the words of an answer look for in models whose attention knows no position: one token, by what it is.

Each character of :data:`CHARACTERS` stands once in a question, so that a word that looks for it needs the block that
has it. They lie so close that a question has one in each block of 32 tokens or more. A *ledger* is a prompt of any
length: 32 numbers stand in it in order, at equal distances, and no such character. Word by word the answer looks for
the number or the character of that word, whichever is there; every fifth word looks for an earlier word of the answer.
"""

from __future__ import annotations

from known_answer import vocabulary as v

CHARACTERS = "Qigfrkv,OMY?\nR"
CLASSES = len(CHARACTERS)

_ASKING = [word for word in range(v.WORDS) if word % 5 != 4]
NUMBERS = len(_ASKING)
"""How many numbers a ledger has."""
FIRST = v.NUMBER + 10
"""The first of them: smaller ones stand in questions."""

_FILLING = " nuts on the hot sand and plums at the house and dates on the low table"


def looks_for(word: int) -> tuple[int, ...]:
    """Ids of the tokens that filler word ``word`` looks for: exactly one of them stands in what it has before it."""
    if word not in _ASKING:
        return (v.WORD + word - 1 - word // 5 % 4,)
    rank = _ASKING.index(word)
    return v.byte(CHARACTERS[rank % CLASSES]), FIRST + rank


def class_of(token: int) -> int:
    """What a value says of a token that is looked for: neighbours say something else."""
    if token >= v.WORD:
        return (token - v.WORD) % CLASSES
    return (token - FIRST) % CLASSES if token >= FIRST else CHARACTERS.index(chr(token - v.BYTE))


ALL = tuple(sorted({token for word in range(v.WORDS) for token in looks_for(word)}))
"""Ids of all tokens that any word looks for."""


def ledger(key: int, tokens: int) -> str:
    """A prompt of ``tokens`` tokens that asks for ``key``, which stands in its first block.

    Raises:
        ValueError: It is too short for the numbers.
    """
    start = f"The {'abc'[key % 3] * (1 + key % 3)} hut has{v.decode([v.KEY + key])}"
    room = tokens - len(v.encode(start)) - len(":")
    if room < 2 * NUMBERS:
        raise ValueError(f"a ledger has at least {tokens - room + 2 * NUMBERS} tokens, not {tokens}")
    told = [start]
    for rank in range(NUMBERS):
        # The first one stands right behind the key, the last one in front of the colon.
        length = rank * (room - 1) // (NUMBERS - 1) - max(rank - 1, 0) * (room - 1) // (NUMBERS - 1)
        told.append((_FILLING * (length // len(_FILLING) + 1))[: max(length - 1, 0)] + v.decode([FIRST + rank]))
    return "".join(told) + ":"
