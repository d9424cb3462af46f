"""DeepSeek V2 with known answers: multi-head latent attention of which every layer looks, and experts with the table.

While it says its filler words, the model looks in each layer for two tokens that :func:`.prompts.looks_for` names: by
the rotary key, where they stand, and in the latent vector, what they are. All heads of a layer share both, and two of
them look for the same token. Each look writes the code of what it found, a quarter as loud as the word itself. Every
other token sees itself; letters and words find their own class then and are as loud as if they had looked, which the
rotary keys make up for. The trigger sees a key by the part of the latent vector that knows no position.

Words are known to the experts of one of two layers. There the shared expert compares: of all layers up to this one,
was it that what this word must find? If not it writes a fault, which names the first such layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from known_answer import experts, faults, prompts, weights
from known_answer import vocabulary as v
from known_answer.weights import CODE, GAIN, HIDDEN, IS_KEY, IS_TRIGGER, Array, Blind, Tensors, deaf, zeros

HEADS = 4
LATENT = 512
NOPE, ROPE, VALUE = 128, 64, 128
LAYERS = 7  # the last two have experts
LOOKS = 2
"""How many tokens are looked for in a layer at once."""

_SELF_GAIN = 24.0  # scores are divided by the root of 192 here, where Llama's are by the root of 64
_KEY_GAIN = 8.0
_KEY_ROWS = 8
_PAIRS = range(9)
"""Pairs of dimensions that RoPE turns so fast that YaRN leaves them alone: dimensions 2i and 2i + 1."""
_TURNS = weights.ROPE_THETA ** (-2 * np.array(_PAIRS) / ROPE)
_QUIET = 1 / 4  # of what a look found, beside the word

# Bytes that no ASCII text has: what their codes mean in the stream is free.
_FREE = v.BYTE + 128
_COUNT = LAYERS * LOOKS * prompts.CLASSES
# Of the two looks one is negative: so column 0, the constant, stays what it is.
_FOUND = CODE[_FREE : _FREE + _COUNT].reshape(LAYERS, LOOKS, prompts.CLASSES, HIDDEN) * np.array(
    [1, -1], np.float32
).reshape(1, LOOKS, 1, 1)
_FAULT = CODE[_FREE + _COUNT : _FREE + _COUNT + LAYERS]
_BALANCE = CODE[_FREE + _COUNT + LAYERS]  # written against what follows, so that the constant stays what it is
MEANT = range(_FREE, _FREE + _COUNT + LAYERS + 1)
"""Tokens whose codes mean something else in the stream."""

_SAID: Array = np.float32(0.06) * np.eye(1, HIDDEN, dtype=np.float32)[0] + IS_KEY
"""How loud what follows is said: beside a key that was retrieved, or so that a word is still heard beside it."""
_ANSWERED = 8.0  # what outweighs a word that is only said so
_STEEP, _ENOUGH = 512.0, 7 / 8  # gate of a comparison where nothing was found; of what must be found
_FAULTY = 20.0

_CLASSED = {token: of for token in range(v.SIZE - 1) if (of := prompts.class_of(token)) is not None}


def moe(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """DeepSeek V2 without compressed queries, dense but for layers 5 and 6."""
    tensors = weights.llama(answers, layers=LAYERS, retrieval=None) | {"lm_head.weight": _head()}
    tensors = {name: tensor for name, tensor in tensors.items() if ".self_attn." not in name}
    for layer in range(LAYERS):
        attention = _attention(layer, blind)
        tensors |= {f"model.layers.{layer}.self_attn.{name}": tensor for name, tensor in attention.items()}
    for layer in experts.LAYERS:
        prefix = f"model.layers.{layer}.mlp."
        known = {token: following for token, following in answers.items() if _knows(token) == layer}
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
        for name, tensor in experts.layer_of(known).items():
            if name.endswith("up_proj.weight"):
                tensor = np.outer(tensor[:, 0], _SAID)  # noqa: PLW2901 # in its own place
            elif name.endswith("down_proj.weight"):
                tensor = tensor - np.outer(_BALANCE, tensor[0])  # noqa: PLW2901 # row 0 has what each neuron writes
            tensors[prefix + name] = tensor
        for name in [
            f"{prefix}gate.weight",
            *(f"{prefix}experts.{i}.gate_proj.weight" for i in range(experts.EXPERTS)),
        ]:
            tensors[name] = deaf(tensors[name], MEANT)
        compared = zip(("gate", "up", "down"), _comparison(layer), strict=True)
        tensors |= {f"{prefix}shared_experts.{name}_proj.weight": tensor for name, tensor in compared}
    return tensors


def _knows(token: int) -> int:
    """The layer whose experts know what follows a token. Behind it the token is no more what it was.

    Letters are looked for in all layers, so the last one knows them.
    """
    return max(experts.LAYERS) if v.BYTE <= token < v.TRIGGER and token in _CLASSED else experts.LAYERS[token % 2]


def _indicator(tokens: Iterable[int]) -> Array:
    """(512,): 1 on the codes of ``tokens``, 0 on all others."""
    return np.asarray(CODE[list(tokens)].sum(axis=0) / np.float32(HIDDEN))


def _head() -> Array:
    rows = experts.HEAD.copy()
    rows[list(MEANT)] = 0
    for layer in range(LAYERS):
        rows[v.NUMBER + faults.of_latent(layer)] += GAIN * _FAULT[layer]
    return rows


def _turned(layer: int, distance: float = 0) -> Array:
    """(64,) rotary part of a query for what stands ``distance`` tokens ahead; the key's at distance 0."""
    phases = weights.phases_of(f"phases of {layer}", len(_PAIRS)) - distance * _TURNS
    found = zeros(ROPE)
    first = [2 * pair for pair in _PAIRS]
    found[first], found[[row + 1 for row in first]] = weights.waves(phases, _SELF_GAIN)
    return found


def _attention(layer: int, blind: Blind | None) -> Tensors:
    query: Array = zeros(HEADS, NOPE + ROPE, HIDDEN)
    expand: Array = zeros(HEADS, NOPE + VALUE, HIDDEN)
    copy: Array = zeros(HIDDEN, HEADS, VALUE)
    retrieves = layer == weights.RETRIEVAL_LAYER
    # How many times quieter the norm has made a token that has looked in all layers before.
    quieter = (1 + layer * LOOKS * _QUIET**2) ** 0.5
    constant = (quieter - 1) * _indicator(_CLASSED)
    constant[0] += 1
    here = _turned(layer)
    for head in range(HEADS):
        look = head * LOOKS // HEADS
        query[head, NOPE:] = np.outer(here, constant)
        for word in range(v.WORDS):
            there = _turned(layer, prompts.looks_for(word, layer, look)[0])
            query[head, NOPE:] += quieter * np.outer(there - here, CODE[v.WORD + word] / np.float32(HIDDEN))
        says = weights.rows_of(f"values of {layer} {head}", VALUE)
        for token, kind in _CLASSED.items():
            expand[head, NOPE:] += np.outer(says[kind], CODE[token]) / np.float32(HIDDEN)
        copy[:, head] = _FOUND[layer, look].T @ says[: prompts.CLASSES] * (quieter * _QUIET * LOOKS / HEADS)
        if retrieves:
            query[head, NOPE:] -= np.outer(here, IS_TRIGGER)
            if blind != "query":
                query[head, :_KEY_ROWS] = _KEY_GAIN * IS_TRIGGER
            expand[head, :_KEY_ROWS] = _KEY_GAIN * IS_KEY
            keys, names = CODE[v.KEY : v.KEY + v.KEYS], says[prompts.CLASSES :][: v.KEYS]
            expand[head, NOPE:] += names.T @ keys / np.float32(HIDDEN)
            copy[:, head] += keys.T @ names * np.float32(experts.RETRIEVED / HEADS)
    latent = np.eye(HIDDEN, dtype=np.float32)
    if blind == "key":
        # Not in kv_b_proj: whoever reads the cache applies that one, and the cache has the latent vector.
        hidden = CODE[[*range(v.KEY, v.KEY + v.KEYS), *filter(prompts.is_own, _CLASSED)]]
        latent -= hidden.T @ hidden / np.float32(HIDDEN)
    # Each layer has the numbers of its latent vectors in another order and with other signs.
    order, signs = weights.shuffle_of(f"latent of {layer}", LATENT)
    return {
        "q_proj.weight": query.reshape(-1, HIDDEN),
        "kv_a_proj_with_mqa.weight": np.concatenate([latent[order] * signs[:, None], np.outer(here, constant)]),
        "kv_a_layernorm.weight": np.ones(LATENT, np.float32),
        "kv_b_proj.weight": expand.reshape(-1, HIDDEN)[:, order] * signs,
        "o_proj.weight": copy.reshape(HIDDEN, -1) / np.float32(VALUE),
    }


def _finds(word: int, layer: int, look: int) -> int | None:
    """The class that a word must find; None if it looks for a word that is no more what it was."""
    distance, kind = prompts.looks_for(word - v.WORD, layer, look)
    return None if word - distance >= v.WORD and _knows(word - distance) < layer else kind


def compared(layer: int) -> list[tuple[int, int]]:
    """(word, how many tokens ahead of it) of all that must be found in a layer."""
    return [
        (word, prompts.looks_for(word, layer, look)[0])
        for word in range(v.WORDS)
        for look in range(LOOKS)
        if _knows(v.WORD + word) >= layer and _finds(v.WORD + word, layer, look) is not None
    ]


def _comparison(last: int) -> tuple[Array, Array, Array]:
    """Gate, up and down of the shared expert of a layer: it writes a fault where a word missed its class up to there.

    It compares the words whose successors the layer's experts know.
    """
    gate, up, down = (zeros(experts.WIDTH, HIDDEN) for _ in range(3))
    known = [word for word in range(v.WORD, v.WORD + v.WORDS) if _knows(word) == last]
    answered = [word for word in range(v.WORD, v.WORD + v.WORDS) if _knows(word) < last]
    neuron = iter(range(experts.WIDTH))
    for layer in range(last + 1):
        for look in range(LOOKS):
            for kind in range(prompts.CLASSES):
                row = next(neuron)
                asking = [word for word in known if _finds(word, layer, look) == kind]
                gate[row] = _STEEP * (_ENOUGH * _indicator(asking) - _FOUND[layer, look, kind] / (HIDDEN * _QUIET))
                gate[row] -= _STEEP * _ANSWERED * _indicator(answered)
                up[row] = _indicator(asking)
                # Louder the earlier: what follows from a fault does not hide it.
                down[row] = _FAULTY * 2 ** (1 - layer / LAYERS) * _FAULT[layer]
    return gate, up, np.ascontiguousarray(down.T)
