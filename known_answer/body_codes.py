"""What codes mean in the stream of a model with a whole body: what was found, that it looked, digits, and faults."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from known_answer import faults, prompts
from known_answer import vocabulary as v
from known_answer.anatomy import Anatomy, Layer
from known_answer.table import CYCLE
from known_answer.weights import CODE, HEADS, HIDDEN, Array, Blind

NUMBERS = range(v.NUMBER, v.NUMBER + v.NUMBERS)
SCALE = np.float32(2)
"""Of a token's code in the stream."""

# Bytes that no ASCII text has: what their codes mean in the stream is free.
_FREE = v.BYTE + 128
_NEXT = _FREE + HEADS * prompts.CLASSES
_FOUND = CODE[_FREE:_NEXT]
_LOOKED = CODE[_NEXT]
_FAULT_LAYER, _FAULT_HEAD, TENS, UNITS = (CODE[_NEXT + 1 + 10 * i : _NEXT + 11 + 10 * i] for i in range(4))
# As long as a code: it makes a whole answer's root mean square 4.
ANSWERED = np.array([1, 1, -1, -1], np.float32) @ CODE[_NEXT + 41 : _NEXT + 45] / 2
# Of models with experts: where every second layer looked, and what heads write of a token that nobody looks for.
_LOOKED_TOO, _OTHERS = CODE[_NEXT + 45], CODE[_NEXT + 46 : _NEXT + 46 + HEADS]
_MEANT, _MEANT_TOO = range(_FREE, _NEXT + 45), range(_NEXT + 45, _NEXT + 46 + HEADS)

DOUBLED = sorted({*CYCLE, *range(v.WORD, v.WORD + v.WORDS), *(v.byte(end) for end in prompts.ENTRIES)})
"""The tokens that a drafter is asked for."""
MARKED = {token: found for token in range(v.SIZE - 1) if (found := prompts.class_of(token)) is not None}
_SPOKEN = MARKED | {token: prompts.CLASSES for token in DOUBLED if token not in MARKED}


def indicator(tokens: Iterable[int]) -> Array:
    """(512,): 1 on the codes of ``tokens``, 0 on all others."""
    return np.asarray(CODE[list(tokens)].sum(axis=0) / np.float32(HIDDEN))


def found_by(layer: Layer) -> Array:
    """(heads, classes, 512): what each head writes of each class. The codes of eight heads, shared by fewer.

    The last class is that of spoken tokens that nobody looks for.
    """
    each = np.concatenate([_FOUND.reshape(HEADS, prompts.CLASSES, HIDDEN), _OTHERS[:, None]], axis=1)
    return np.asarray(each.reshape(layer.heads, HEADS // layer.heads, prompts.CLASSES + 1, HIDDEN).sum(axis=1))


def marked(layer: Layer, blind: Blind | None) -> dict[int, int]:
    """The class of each token whose value a head can find: in front of experts, of all that are spoken."""
    classes = _SPOKEN if layer.experts else MARKED
    own = blind == "key"
    return {
        token: kind
        for token, kind in classes.items()
        if token not in layer.idle and not (own and prompts.is_own(token))
    }


def looked(anatomy: Anatomy, layer: Layer) -> Array:
    """(512,) code of having looked: next to a layer with experts, another one than theirs."""
    return np.asarray(_LOOKED_TOO if anatomy.has_experts and layer.index % 2 else _LOOKED)


def fault(layer: int, head: int) -> Array:
    """(512,) what is written of a fault. Columns 0 cancel: a token with a fault has no key, and nobody finds it."""
    return np.asarray(_FAULT_LAYER[layer] - _FAULT_HEAD[head])


def unfinished(anatomy: Anatomy, layer: Layer) -> tuple[Array, Array, Array] | None:
    """(512,) each: what tells that the experts in the layer before left what was found, the fault, and what silences.

    None where that layer has no experts.
    """
    before = next((each for each in anatomy.layers if each.index == layer.index - 1 and each.experts), None)
    if before is None:
        return None
    # Louder than what this layer's heads cannot find any more.
    return looked(anatomy, before), 8 * fault(before.index, faults.EXPERTS), looked(anatomy, layer) / np.float32(4)


def meant(anatomy: Anatomy) -> set[int]:
    """The tokens whose codes mean something else."""
    return {*_MEANT, *(_MEANT_TOO if anatomy.has_experts else ())}
