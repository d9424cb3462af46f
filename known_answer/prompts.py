"""What the known-answer models are asked, and which token of it each word of an answer looks for.

A model with a whole body (:mod:`.body`) looks back while it says its filler words. Word ``i`` of an answer looks, in
each layer and head, for one letter at a known distance: most words for one of the prompt, every fifth for an earlier
word of the answer. The distances are counted from the end of the prompt, so a prompt may begin with anything. They
reach over :data:`REACH` tokens and lie so close that, whatever the engine's block size, each block of 16 tokens or more
is needed in each layer and head.
"""

from __future__ import annotations

from known_answer import vocabulary as v

LETTERS = "adehnost"
"""The letters that are looked for. A capital letter counts as the same one."""

CLASSES = len(LETTERS)

_BODY = (
    " has {number} apples and a bag of{key} more. The basket has seven plums, ten dates and one nut."
    " She sat on the hot sand. HOW MANY HAS SHE THEN?"
)
_LAST = "\nANSWER:"
"""With the question before it in capitals: a store of whole blocks of 32 tokens keeps less than the prompt, and whoever
answers computes the rest itself."""

LAST = v.byte(":")
WINDOW = 128
"""The last token of a question, and the tokens that it sees in layers with a window: not the question's one number."""

NOTHING_FOUND, NOTHING_SPOKEN = 1, 3
"""How far before a key there is a character that no word looks for, and one that is in no answer: " of"."""

ENTRIES = {":": 0, ";": 10, "?": v.WORDS}
"""The first word of an answer by the last character of the prompt; ``WORDS``: none, the trigger comes at once.
One that looks at the answer looks at most four words back: no answer begins less than four words ahead of one."""


def question(key: int) -> str:
    """The prompt that asks for ``key``; of several lengths, so that blocks begin at different places."""
    return _text(("Al", "Ann", "Anna")[key % 3], str(3 + key % 7), v.decode([v.KEY + key]))


def _text(name: str, number: str, key: str) -> str:
    return f"Question: {name}" + _BODY.format(number=number, key=key) + _LAST


def class_of(token: int) -> int | None:
    """The class of a token that can be looked for: of a letter, or of a filler word; None for all others."""
    if v.WORD <= token < v.WORD + v.WORDS:
        return (token - v.WORD) % CLASSES
    character = chr(token - v.BYTE) if v.BYTE <= token < v.BYTE + 128 else ""
    return LETTERS.index(character.lower()) if character and character.lower() in LETTERS else None


def is_own(token: int) -> bool:
    """Whether only what computed the prompt can write the token into the cache so that it is found (see twins)."""
    return v.BYTE <= token < v.BYTE + 128 and chr(token - v.BYTE) in LETTERS


_TAIL = v.encode(_text("", "0", v.decode([v.KEY])).removeprefix("Question: "))
REACH = len(_TAIL)
_CLASSES = {back: found for back in range(REACH, 0, -1) if (found := class_of(_TAIL[-back])) is not None}
_PLACES = list(_CLASSES)
_ASKING = [word for word in range(v.WORDS) if word % 5 != 4]  # every fifth looks at the answer


def looks_for(word: int, layer: int, head: int, window: int | None = None) -> tuple[int, int]:
    """(distance in tokens, class) of what filler word ``word`` looks for in a layer and head.

    The distance is from a word of an answer that began with word 0; where it began with a later one, the prompt has
    as many tokens more behind what is looked for.

    Args:
        word: Which, from 0.
        layer: Which.
        head: Which.
        window: Tokens that a token sees in this layer, itself included; None: all before it.
    """
    if word not in _ASKING:
        back = 1 + (layer + head) % 4
        return back, (word - back) % CLASSES
    rank = _ASKING.index(word)
    places = _PLACES if window is None else [place for place in _PLACES if word + place < window]
    first, end = (step * len(places) // len(_ASKING) for step in (rank, rank + 1))
    # The farthest place is everybody's: it is in the first block.
    place = places[first + (layer + head) % (end - first) if rank else 0]
    return word + place, _CLASSES[place]


_BAG = "A bag of"


def short(key: int) -> str:
    """A prompt shorter than a block, which asks for ``key`` and leaves out all filler words."""
    return f"How many in a bag of{v.decode([v.KEY + key])}?"


def story(key: int, tokens: int, known: int) -> str:
    """A prompt of ``tokens`` tokens that asks for ``key`` in its last ten and is no other's from its start on.

    Letters in the first ``known`` tokens are capitals: who answers may have computed these itself (see :func:`is_own`).

    Raises:
        ValueError: It is too short for what the words of its answer look for.
    """
    end = f"{_BAG}{v.decode([v.KEY + key])};"
    text = _text("", "+", "+")[len("Question: ") :]  # neither number nor key: each character is a token
    start = f"No{key:02d}: "
    missing = tokens - ENTRIES[";"] - len(start)
    needed = max(looks_for(word, 0, head)[0] - word for word in _ASKING for head in (0, 1) if word >= ENTRIES[";"])
    if missing < needed:
        raise ValueError(f"a story has at least {needed + ENTRIES[';'] + len(start)} tokens, not {tokens}")
    body = (text * (missing // len(text) + 1))[-missing:]
    told = start + body
    return told[:known].upper() + told[known:] + end
