"""What a wrong answer of a whole-body Llama says about where it went wrong."""

from __future__ import annotations

import itertools

from known_answer import landmarks, prompts
from known_answer import vocabulary as v

_HEADS = 10
_BY_CONTENT = 80
_LATENT = 8


def number(layer: int, head: int) -> int:
    """The number with which an answer goes on where a layer did not find what it must, in one of its heads."""
    return _HEADS * layer + head


def of_latent(layer: int) -> int:
    """The same, of a layer whose heads share one latent vector."""
    return number(layer, _LATENT)


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
    if place is None or place == 0:
        return None
    token, before = (said[place] if place < len(said) else v.EOS), right[place - 1]
    if before == v.TRIGGER and token == v.EOS:
        return (
            "one share or more of the number did not come: of some layer and head, a key or a value at the key token, "
            "or a part of a recurrent state"
        )
    if not (v.WORD <= before < v.WORD + v.WORDS and v.NUMBER <= token < v.NUMBER + v.NUMBERS):
        return None
    if token - v.NUMBER >= _BY_CONTENT:
        wanted = " or".join(repr(v.decode([token])) for token in landmarks.looks_for(before - v.WORD))
        return (
            f"the layer of attention, KV head {token - v.NUMBER - _BY_CONTENT}: at{v.decode([before])}, token {place} "
            f"of the answer, the key or value of the one {wanted} before it was not the right one"
        )
    layer, head = divmod(token - v.NUMBER, _HEADS)
    at = f"at{v.decode([before])}, token {place} of the answer"

    def where(head: int) -> str:
        back = prompts.looks_for(before - v.WORD, layer, head)[0] - (place - 1)
        return f"{back} tokens before the end of the prompt" if back > 0 else f"token {1 - back} of the answer"

    if head == _LATENT:
        what = f"the latent vector or the rotary key of {where(0)} or of {where(1)} was not the right one"
        return f"layer {layer}: {at}, {what}"
    return f"layer {layer}, KV head {head}: {at}, the key or value of {where(head)} was not the right one"
