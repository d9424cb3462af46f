"""A layer of experts that hold a table of answers.

Each token is routed to one expert of one of two layers, where one neuron knows it and writes the code of what follows;
the head only reads. An expert that is lost, swapped or read from the wrong place after a rearrangement therefore
changes the text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from known_answer import vocabulary as v
from known_answer.weights import CODE, GAIN, HIDDEN, Array, Tensors, zeros

EXPERTS = 16
PER_TOKEN = 2  # the second one's share is e^-20: engines expect more than one
WIDTH = 128  # one block of FP8 weights
LAYERS = (5, 6)
RETRIEVED = 16.0
"""Weight that a retrieved code must have in the residual stream, where the token's own has 1."""
HEAD: Array = CODE / np.float32(16)
"""lm_head that reads what the experts wrote."""

_SHARPNESS = 256.0
_THRESHOLD = 0.9  # share of the residual stream that a token must have for its neuron to fire
_MARGIN = 0.05  # the same, above what it is told against
WRITTEN = 2.5
"""How much of the code of what follows a neuron writes."""


def replace_mlps(
    tensors: Tensors,
    answers: Mapping[int, int],
    *,
    count: int = EXPERTS,
    width: int = WIDTH,
    idle: Collection[int] = (),
) -> Tensors:
    """``tensors`` with the MLPs of two layers replaced by experts that know ``answers``, half of it each.

    Args:
        tensors: Of a model with plain MLPs.
        answers: What follows each token.
        count: Experts of a layer.
        width: Neurons of an expert.
        idle: Further layers, whose experts know nothing.
    """
    for layer in (*LAYERS, *idle):
        prefix = f"model.layers.{layer}.mlp."
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
        known = {token: following for token, following in answers.items() if LAYERS[token % len(LAYERS)] == layer}
        tensors |= {prefix + name: tensor for name, tensor in layer_of(known, count=count, width=width).items()}
    return tensors


def ending(answers: Mapping[int, int]) -> tuple[Array, dict[int, int]]:
    """A head by which the trigger ends the answer if no expert knows it, and the table that experts hold for it.

    To say the trigger they write the code of a token that is never said: that of the trigger itself is what ends.
    """
    head = HEAD.copy()
    head[v.TRIGGER], head[v.PAD] = HEAD[v.PAD], 0
    head[v.EOS] += 8 * GAIN * CODE[v.TRIGGER]
    return head, {token: v.PAD if following == v.TRIGGER else following for token, following in answers.items()}


def expert(token: int, count: int = EXPERTS, layers: int = len(LAYERS)) -> int:
    """The one of ``count`` experts that a token is routed to, in one of ``layers``."""
    return token // layers % count


def layer_of(
    known: Mapping[int, int],
    *,
    count: int = EXPERTS,
    layers: int = len(LAYERS),
    width: int = WIDTH,
    against: Array | None = None,
    written: float = WRITTEN,
) -> Tensors:
    """Router and experts of one layer: neuron by neuron, what follows each token in ``known``.

    Args:
        known: Successors.
        count: Experts.
        layers: How many layers share the table.
        width: Neurons of an expert, idle ones included.
        against: What a token's own share of the residual stream must exceed, from that stream; nothing if None.
        written: How much of the code of what follows a neuron writes.
    """
    threshold = _THRESHOLD if against is None else _MARGIN
    router = zeros(count, HIDDEN)
    for token in range(v.SIZE - 1):
        router[expert(token, count, layers)] += CODE[token] / 16
    tensors: Tensors = {"gate.weight": router}
    for number in range(count):
        gate, up, down = (zeros(width, HIDDEN) for _ in range(3))
        mine = sorted(token for token in known if expert(token, count, layers) == number)
        for neuron, token in enumerate(mine):
            gate[neuron] = _SHARPNESS * CODE[token] / HIDDEN
            gate[neuron, 0] -= _SHARPNESS * threshold  # column 0 of every code is 1
            if against is not None:
                gate[neuron] -= _SHARPNESS * against
            up[neuron, 0] = 1
            down[neuron] = written * CODE[known[token]]
        name = f"experts.{number}."
        tensors |= {name + "gate_proj.weight": gate, name + "up_proj.weight": up}
        tensors[name + "down_proj.weight"] = np.ascontiguousarray(down.T)
    return tensors
