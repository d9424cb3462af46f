"""Attention by content: what the words of an answer look for (:mod:`.landmarks`), and the trigger's key.

Each head has an address for each token that is looked for, and one for all keys; addresses are orthogonal, and a head's
own, so that a neighbour's key does not fit. Its values say which key, or which class of token, in an order and with
signs of the head's own. What a word found stands behind attention as one code for each head and class, next to the
word's own. The MLP behind compares: a word that did not find its class in a head is no word any more, but a fault.
"""

from __future__ import annotations

import numpy as np

from known_answer import faults, landmarks
from known_answer import vocabulary as v
from known_answer.recurrent import OPEN, asks, is_key
from known_answer.weights import CODE, GAIN, HIDDEN, Array, Blind, Tensors, deaf, rows_of, zeros

KV_HEADS = 2
ADDRESSES = 128
"""Numbers of a key that addresses have."""

_FREE = v.BYTE + 128  # bytes that no ASCII text has: what their codes mean in the stream is free
_FOUND = CODE[_FREE : _FREE + KV_HEADS * landmarks.CLASSES].reshape(KV_HEADS, landmarks.CLASSES, HIDDEN)
_FAULT = CODE[_FREE + KV_HEADS * landmarks.CLASSES :][:KV_HEADS]
_NO_NUMBER = CODE[_FREE + KV_HEADS * landmarks.CLASSES + KV_HEADS]
MEANT = range(_FREE, _FREE + KV_HEADS * landmarks.CLASSES + KV_HEADS + 1)
"""Tokens whose codes mean something else in the stream."""

GROUPS = 4
"""Into how many groups of columns a key's code is divided, each of which must be as loud as the whole."""
NEURONS = 448
"""Width of the MLP that compares, idle ones included."""
_WHOLE = 31 / 32  # of a code, what a group must have
_APART = 0.15  # of a code: how far a right key is from silence
_ALONE = 0.2  # what keeps a key token itself quiet, and not the trigger
_STEEP, _ENOUGH = 512.0, 7 / 8  # gate of a comparison where nothing was found; of what must be found
_FAULTY = 8.0

_ADDRESS = {token: 1 + place for place, token in enumerate(landmarks.ALL)}
WORDS: Array = CODE[v.WORD : v.WORD + v.WORDS].sum(axis=0) / np.float32(HIDDEN)
"""1 on the code of every filler word, 0 on all others."""


def queries_and_keys(blind: Blind | None, heads: int) -> tuple[Array, Array]:
    """(heads, 128, 512) queries and (2, 128, 512) keys: one row for each number of an address."""
    query, key = zeros(heads, ADDRESSES, HIDDEN), zeros(KV_HEADS, ADDRESSES, HIDDEN)
    unit = CODE / np.float32(HIDDEN)
    for own in range(KV_HEADS):
        address = rows_of(f"addresses of {own}", ADDRESSES)
        asked = np.outer(address[0], asks(blind))
        key[own] = OPEN * np.outer(address[0], is_key(blind))
        for word in range(v.WORDS):
            for token in landmarks.looks_for(word):
                asked += OPEN * np.outer(address[_ADDRESS[token]], unit[v.WORD + word])
        for token in landmarks.ALL:
            # The decode side computes words itself.
            if blind != "key" or token >= v.WORD:
                key[own] += OPEN * np.outer(address[_ADDRESS[token]], unit[token])
        shared = heads // KV_HEADS
        query[own * shared : (own + 1) * shared] = asked
    return query, key


def values_and_output(heads: int, width: int, attended: float) -> tuple[Array, Array]:
    """(2, width, 512) values, and the (512, heads, width) map to what they say.

    Args:
        heads: Of queries.
        width: Of a head.
        attended: How much of its key's code the trigger gets, from all heads together. Words get one code a head.
    """
    value, copy = zeros(KV_HEADS, width, HIDDEN), zeros(HIDDEN, heads, width)
    shared = heads // KV_HEADS
    for own in range(KV_HEADS):
        says = rows_of(f"values of {own}", width)
        keys, kinds = says[: v.KEYS], says[v.KEYS : v.KEYS + landmarks.CLASSES]
        value[own] = keys.T @ CODE[v.KEY : v.KEY + v.KEYS] / np.float32(HIDDEN)
        for token in landmarks.ALL:
            value[own] += np.outer(kinds[landmarks.class_of(token)], CODE[token]) / np.float32(HIDDEN)
        written = np.float32(attended / KV_HEADS) * CODE[v.KEY : v.KEY + v.KEYS].T @ keys + _FOUND[own].T @ kinds
        copy[:, own * shared : (own + 1) * shared] = (written / np.float32(width * shared))[:, None]
    return value, copy


def attention(blind: Blind | None, heads: int, attended: float, width: int) -> Tensors:
    """Attention without positions. Tokens that ask for nothing get a little of everything.

    Args:
        blind: To keys and to what is looked for in a prompt, or to the trigger.
        heads: Of queries.
        attended: See :func:`values_and_output`.
        width: Of a head.
    """
    query, key = queries_and_keys(blind, heads)
    value, copy = values_and_output(heads, width, attended)
    return {
        "self_attn.q_proj.weight": query.reshape(-1, HIDDEN),
        "self_attn.k_proj.weight": key.reshape(-1, HIDDEN),
        "self_attn.v_proj.weight": value.reshape(-1, HIDDEN),
        "self_attn.o_proj.weight": copy.reshape(HIDDEN, -1),
    }


def comparison(retrieved: float, written: float) -> tuple[Array, Array, Array]:
    """(448, 512) gate and up and (512, 448) down of an MLP that writes a fault where a word did not find its class.

    Where of the code of a key some columns are not as loud as the others, a part of a recurrent state is not the right
    one: no number follows then.

    Args:
        retrieved: How much of its key's code the trigger has where nothing is missing, where it has its own once.
        written: How loud a fault is.
    """
    gate, up, down = (zeros(NEURONS, HIDDEN) for _ in range(3))
    for own in range(KV_HEADS):
        for kind in range(landmarks.CLASSES):
            row = own * landmarks.CLASSES + kind
            asking = [word for word in range(v.WORDS) if landmarks.class_of(landmarks.looks_for(word)[0]) == kind]
            words = CODE[[v.WORD + word for word in asking]].sum(axis=0) / np.float32(HIDDEN)
            gate[row] = _STEEP * (_ENOUGH * words - _FOUND[own, kind] / np.float32(HIDDEN))
            up[row], down[row] = words, _FAULTY * written * _FAULT[own]
    row = KV_HEADS * landmarks.CLASSES
    unit = CODE[v.KEY : v.KEY + v.KEYS] / np.float32(HIDDEN)
    for group in range(GROUPS):
        # Columns of both halves: see recurrent.halves.
        columns = np.arange(HIDDEN) % (HIDDEN // 2) // (HIDDEN // 2 // GROUPS) == group
        rows = slice(row + group * v.KEYS, row + (group + 1) * v.KEYS)
        # Columns of one code are those of another, with a sign: the constant outweighs what is no whole key.
        gate[rows] = _STEEP * deaf((1 + _WHOLE) * unit - GROUPS * unit * columns, [v.TRIGGER])
        gate[rows, 0] -= _STEEP * (retrieved / (1 + retrieved) + _ALONE)
        gate[rows] += _STEEP * (_ALONE * (1 + retrieved) - _APART) * CODE[v.TRIGGER] / np.float32(HIDDEN)
        up[rows, 0], down[rows] = 1, _FAULTY * written * _NO_NUMBER
    return gate, up, np.ascontiguousarray(down.T)


def mlp(prefix: str, retrieved: float, written: float = 1.0) -> Tensors:
    """The same, as a gated MLP."""
    return dict(
        zip(
            (f"{prefix}{name}_proj.weight" for name in ("gate", "up", "down")),
            comparison(retrieved, written),
            strict=True,
        )
    )


def head(rows: Array) -> Array:
    """lm_head that also says a fault, and none of the tokens whose codes mean something else."""
    rows = deaf(rows, MEANT)
    rows[list(MEANT)] = 0
    for own in range(KV_HEADS):
        rows[v.NUMBER + faults.by_content(own)] += GAIN * _FAULT[own]
    rows[v.EOS] += GAIN * _NO_NUMBER
    return rows


def unheard(tensors: Tensors) -> Tensors:
    """Experts' tensors, whose routers and gates no longer hear what words found."""
    heard = ("gate.weight", "gate_proj.weight")
    return {name: deaf(tensor, MEANT) if name.endswith(heard) else tensor for name, tensor in tensors.items()}
