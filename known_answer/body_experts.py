"""MLPs of experts in a model with a whole body (:mod:`.body`): what they compare, and what only the right one does.

A token is routed to one expert of each layer. Nobody else takes away what the token's heads found, and nobody else
knows what its word must find. Of what stays in the stream behind a wrong expert, the next layer makes a fault of its
own. Here all tokens of an answer look, letters that no word looks for too: each needs its expert in each layer.

Every weight is a sum of few codes, so that FP8 and the four bits of MXFP4 hold it exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from known_answer import body_codes as codes
from known_answer import prompts, weights
from known_answer import vocabulary as v
from known_answer.anatomy import Anatomy, Layer
from known_answer.weights import CODE, HIDDEN, Array, Blind, Tensors, zeros

_ROUTED = 1 / 4  # of a token's code in the router: 64 nats ahead of any other expert
_TAKEN = 32.0  # silu leaves it alone
_STEEP = 1024.0
_ENOUGH = 9 / 4  # of what must be half; 4 bits hold 1 more, and 1 less


@dataclass(frozen=True)
class Neuron:
    """One neuron of an expert, as sums of codes.

    Attributes:
        reads: (512,) what it is told by: 256 of a token's own code in a stream in order.
        writes: (512,) what it says then, in units of a code's weight.
        unless: (512,) what keeps it silent if it has half of the weight of ``reads``: what it says is a fault. None:
            nothing.
        loud: The fault must be heard above others.
    """

    reads: Array
    writes: Array
    unless: Array | None = None
    loud: bool = False


def expert_of(token: int, count: int) -> int:
    """The one of ``count`` experts that a token is routed to."""
    return token % count


def router(anatomy: Anatomy, count: int) -> Array:
    """(count, 512): sends each token to its expert, whatever its heads found."""
    rows = zeros(count, HIDDEN)
    for token in set(range(v.SIZE - 1)) - codes.meant(anatomy):
        rows[expert_of(token, count)] += np.float32(_ROUTED) * CODE[token]
    return rows


def neurons(anatomy: Anatomy, layer: Layer, number: int, blind: Blind | None) -> list[Neuron]:
    """All neurons of expert ``number`` of a layer.

    What a token's heads wrote is taken away by two of them, of four heads each: each weight of one is 0, 2, 4 or 6.
    """
    loudness, looked = np.float32(anatomy.loudness(layer)), codes.looked(anatomy, layer)
    marked, found, heads = codes.marked(layer, blind), codes.found_by(layer), range(layer.heads)
    known: list[Neuron] = []
    for token in (token for token in codes.DOUBLED if expert_of(token, layer.experts) == number):
        doubled = 2 * CODE[token] if layer.index == anatomy.doubles else zeros(HIDDEN)
        if token not in marked:
            known.append(Neuron(CODE[token] / 2, doubled))
            continue
        word = token - v.WORD
        is_word = 0 <= word < v.WORDS
        kinds = [_kind(layer, word, head) if is_word else marked[token] for head in heads]
        each = found[heads, kinds]
        first, second = (each[list(half)].sum(axis=0) for half in np.array_split(heads, 2))
        known += [
            Neuron(CODE[token], -loudness * (first + 2 * looked)),
            Neuron(CODE[token], doubled - loudness * second),
        ]
        if is_word:
            apart = np.float32(layer.heads / weights.HEADS)
            known += [Neuron(CODE[token], codes.fault(layer.index, head), apart * each[head]) for head in heads]
    if (left := codes.unfinished(anatomy, layer)) is not None:
        known.append(Neuron(*left, loud=True))
    return known


def _kind(layer: Layer, word: int, head: int) -> int:
    """The class that a word must find."""
    return prompts.looks_for(word, layer.index, head, layer.window)[1]


def _joined(apart: list[Neuron]) -> list[Neuron]:
    """One neuron where two are told by the same."""
    joined: list[Neuron] = []
    for neuron in apart:
        if joined and neuron.unless is None and np.array_equal(joined[-1].reads, neuron.reads):
            joined[-1] = Neuron(neuron.reads, joined[-1].writes + neuron.writes)
        else:
            joined.append(neuron)
    return joined


def gated_by_silu(anatomy: Anatomy, layer: Layer, blind: Blind | None, width: int) -> Tensors:
    """Router and experts of ``width`` as Qwen3-MoE has them, without a prefix."""
    tensors: Tensors = {"mlp.gate.weight": router(anatomy, layer.experts)}
    unit = 1 / np.float32(HIDDEN)
    for number in range(layer.experts):
        gate, up, down = (zeros(width, HIDDEN) for _ in range(3))
        for row, neuron in enumerate(_joined(neurons(anatomy, layer, number, blind))):
            up[row] = 2 * unit * neuron.reads
            if neuron.unless is None:
                gate[row] = 2 * _TAKEN * unit * neuron.reads
                down[row] = neuron.writes / _TAKEN
            else:
                gate[row] = _STEEP * unit * (neuron.reads - (2 if neuron.loud else _ENOUGH) * neuron.unless)
                down[row] = np.float32(anatomy.fault) * neuron.writes
        name = f"mlp.experts.{number}."
        tensors |= {name + "gate_proj.weight": gate, name + "up_proj.weight": up}
        tensors[name + "down_proj.weight"] = np.ascontiguousarray(down.T)
    return tensors
