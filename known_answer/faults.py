"""What a wrong answer of a whole-body Llama says about where it went wrong."""

from __future__ import annotations

import itertools

from known_answer import landmarks, prompts
from known_answer import vocabulary as v

_HEADS = 10
_BY_CONTENT, _LATENT = 80, 90


EXPERTS, WINDOW = 8, 9
"""Instead of a head: the layer's experts did not take away what its heads found; it saw more than its window."""


def number(layer: int, head: int) -> int:
    """The number with which an answer goes on where a layer did not find what it must, in one of its heads."""
    return _HEADS * layer + head


def token(layer: int, head: int, window: int | None = None) -> int:
    """What is said of a fault: a number, or in a layer with a window, where words look elsewhere, a key."""
    return (v.NUMBER if window is None else v.KEY) + number(layer, head)


def of_latent(layer: int) -> int:
    """The same, of a layer whose heads share one latent vector."""
    return _LATENT + layer


def by_content(head: int) -> int:
    """The same, of a layer that looks by content (:mod:`.landmarks`): no other has a layer of that number."""
    return _BY_CONTENT + head


def explained(text: str, expected: str) -> str | None:
    """One line that names what an answer did not find where it first differs, in the words of an engine.

    Args:
        text: What was said.
        expected: What should have been.

    Returns:
        None where the answer does not say: it is right, or goes wrong in another way than a fault makes it.
    """
    said, right = v.encode(text), v.encode(expected)
    pairs = enumerate(itertools.zip_longest(said, right, fillvalue=v.EOS))
    place = next((index for index, (one, other) in pairs if one != other), None)
    if place is None:
        return None
    if place == 0:
        layer, beyond = divmod(said[0] - v.NUMBER if said else -1, _HEADS)
        is_fault = 0 <= layer < v.NUMBERS // _HEADS and beyond == WINDOW
        return f"layer {layer}: more was seen than the window" if is_fault else None
    fault, before = (said[place] if place < len(said) else v.EOS), right[place - 1]
    if before == v.TRIGGER and fault == v.EOS:
        return (
            "one share or more of the number did not come: of some layer and head, a key or a value at the key token, "
            "or a part of a recurrent state"
        )
    if not (v.WORD <= before < v.WORD + v.WORDS and v.NUMBER <= fault < v.KEY + v.KEYS):
        return None
    return _at_a_word(fault, before, place)


def _at_a_word(fault: int, before: int, place: int) -> str:
    """What the token ``fault`` says, ``place`` tokens into an answer, behind the word ``before``."""
    code, window = (fault - v.NUMBER) % v.NUMBERS, None if fault < v.KEY else prompts.WINDOW
    layer, head = divmod(code, _HEADS)
    at = f"at{v.decode([before])}, token {place} of the answer"

    def where(layer: int, head: int) -> str:
        back = prompts.looks_for(before - v.WORD, layer, head, window)[0] - (place - 1)
        return f"{back} tokens before the end of the prompt" if back > 0 else f"token {1 - back} of the answer"

    if window is None and code >= _LATENT:
        layer = code - _LATENT
        what = f"the latent vector or the rotary key of {where(layer, 0)} or of {where(layer, 1)} was not the right one"
        return f"layer {layer}: {at}, {what}"
    if window is None and code >= _BY_CONTENT:
        wanted = " or".join(repr(v.decode([token])) for token in landmarks.looks_for(before - v.WORD))
        return (
            f"the layer of attention, KV head {code - _BY_CONTENT}: {at}, "
            f"the key or value of the one {wanted} before it was not the right one"
        )
    if head == EXPERTS:
        return f"layer {layer}: {at}, the right expert was not asked"
    return f"layer {layer}, KV head {head}: {at}, the key or value of {where(layer, head)} was not the right one"
