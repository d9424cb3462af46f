"""Gemma 4 with known answers: tied embeddings, norms around every block, windows, shared KV caches, per-layer inputs.

The head is the embedding, so the table of answers sits in the MLP of the last layer: one neuron a token, which writes
the code of what follows. Of a model with per-layer inputs they hold a part of it, of one with experts these do.

The trigger needs every layer that has a KV cache of its own. One with a window finds the end of the prompt's last line
but one and writes a mark, the code of no token; one that sees everything finds the key. The neuron of a key fires where
none of them is missing. The key is out of the window's reach: where the window is ignored, it outshines the end of the
line and no mark is written.

The norms behind the blocks make anything but nothing as long as everything else, so all that a block may not write is
exactly zero: values are zero but for keys and ends of lines, and neurons are far below zero where GELU is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from known_answer import vocabulary as v
from known_answer import weights
from known_answer.gemma_shape import KEY_CODES, SELF, SLIDING, Heads, Shape
from known_answer.weights import CODE, HIDDEN, IS_KEY, Array, Blind, Tensors, zeros

EMBEDDING: Array = CODE / np.float32(16)
"""Embedding and head: the logit of a code of length 1 is 32."""
UNIT = 1.4140625
"""A token's own code in the residual stream: the embedding times the root of 512, in bf16."""
WINDOW = 64  # of the tokens before the trigger: the prompt's last line is in it, the key is not
COMMON_CONFIG: Mapping[str, Any] = {
    "vocab_size": v.SIZE,
    "hidden_size": HIDDEN,
    "hidden_activation": "gelu_pytorch_tanh",
    "attention_bias": False,
    "sliding_window": WINDOW,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "bos_token_id": v.BOS,
    "eos_token_id": v.EOS,
    "pad_token_id": v.PAD,
    "dtype": "bfloat16",
}
"""What the configuration of every text model of the family says, Gemma 3 and 4."""
MARK: Array = np.ones(HIDDEN, np.float32)
"""The code of no token: says that the layer with a window has found the end of a line."""
TOKEN: Array = np.eye(1, HIDDEN, dtype=np.float32)[0] - MARK / HIDDEN
"""1 on the code of every token, 0 on the mark."""
IS_BREAK: Array = CODE[v.byte("\n")] / HIDDEN
"""1 on the code of the end of a line: not of the last token, which a decode server computes itself."""
IS_TRIGGER: Array = CODE[v.TRIGGER] / HIDDEN

_KEY = 160.0  # score of the trigger for a key, times 0.7
_BREAK = 0.6  # of a key's mark
_DOUBT = 1 / 16  # share of a trigger's query that looks at itself: what it sees when it finds nothing
_LEFT = 1 / 256  # of what a key's own query has: the norm makes it whole, if there is nothing else
_APART = 4.0  # a trigger that has found its key is none
_SHARPNESS = 256.0
_ALONE = 0.5  # of all codes there are, the share at which a neuron fires
_WRITTEN = 32.0


def filled(size: int, value: float = 1.0) -> Array:
    return np.full(size, value, np.float32)


def query(heads: Heads, *, asks: bool, token: Array = TOKEN) -> Array:
    """Every token looks at itself; the trigger, if it ``asks``, at what is marked. ``token`` says that there is one."""
    rows = zeros(heads.queries, heads.size, HIDDEN)
    rows[:, heads.fast] = token
    if asks:
        # A trigger that has found its key in an earlier layer asks as if it had not.
        rows[:, heads.fast] -= np.float32(1 - _DOUBT) * IS_TRIGGER + np.float32(1 - _LEFT) * IS_KEY
        rows[:, heads.slow] = IS_TRIGGER
    return rows.reshape(-1, HIDDEN)


def key(heads: Heads, *, marks: bool) -> Array:
    """Every token says that it is there; keys and ends of lines, if it ``marks``, what they are."""
    rows = zeros(heads.keys, heads.size, HIDDEN)
    rows[:, heads.fast] = TOKEN
    if marks:
        end = np.float32(_BREAK) * IS_BREAK if heads.kind == SLIDING else 0
        rows[:, heads.slow] = np.float32(np.sqrt(len(heads.fast) / len(heads.slow))) * (
            IS_KEY + end - _APART * IS_TRIGGER
        )
        if heads.tied:
            rows += value(heads).reshape(rows.shape) / np.float32(4)  # little beside what the score is made from
    return rows.reshape(-1, HIDDEN)


def value(heads: Heads) -> Array:
    """What keys and ends of lines carry, zero on all others."""
    rows = zeros(heads.keys, heads.size, HIDDEN)
    if heads.kind == SLIDING:
        rows[:, heads.carried] = IS_BREAK
    else:
        names = KEY_CODES.T @ CODE[v.KEY : v.KEY + v.KEYS] / HIDDEN
        rows[:, heads.carried] = names.reshape(heads.keys, len(heads.carried), HIDDEN)
    return rows.reshape(-1, HIDDEN)


def output(heads: Heads) -> Array:
    """From values to codes: the mark for the end of a line, its code for a key. One query head reads each key head."""
    columns = zeros(HIDDEN, heads.queries, heads.size)
    for index in range(heads.keys):
        reader = index * heads.queries // heads.keys
        if heads.kind == SLIDING:
            columns[:, reader, heads.carried] = MARK[:, None]
        else:
            names = np.split(KEY_CODES, heads.keys, axis=1)[index]
            columns[:, reader, heads.carried] = CODE[v.KEY : v.KEY + v.KEYS].T @ names
    return columns.reshape(HIDDEN, -1) / np.float32(len(KEY_CODES[0]))


def head_norm(heads: Heads) -> Array:
    """Weights of the norms of queries and keys: they give back the lengths that the norms take away."""
    norm = zeros(heads.size)
    norm[heads.fast], norm[heads.slow] = np.sqrt(SELF / heads.size), np.sqrt(_KEY / heads.size)
    return norm


def _found(shape: Shape) -> float:
    """Of all codes that a trigger has, the share of key and mark at which a neuron of a key fires.

    Each layer with a KV cache of its own adds one beside that of the trigger itself: half-way between all and one less.
    """
    all_of_them = len(shape.asking)
    return (all_of_them / (1 + all_of_them) + (all_of_them - 1) / all_of_them) / 2


def neurons(shape: Shape, known: Mapping[int, int], width: int) -> tuple[Array, Array, Array]:
    """Gate, up and down of an MLP that writes, for each token in ``known``, the code of what follows it."""
    gate, up, down = (zeros(width, HIDDEN) for _ in range(3))
    for neuron, (token, following) in enumerate(sorted(known.items())):
        gate[neuron] = _SHARPNESS * CODE[token] / HIDDEN
        if v.KEY <= token < v.KEY + v.KEYS:
            gate[neuron] += _SHARPNESS * MARK / HIDDEN
            gate[neuron, 0] -= _SHARPNESS * _found(shape)
        else:
            gate[neuron] -= _SHARPNESS * _ALONE * TOKEN
        up[neuron] = TOKEN
        down[neuron] = CODE[following]
    return gate, up, np.ascontiguousarray(down.T)


def text(shape: Shape, answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """The language model: tensors as the published checkpoints name them.

    Args:
        shape: Of the model.
        answers: The table.
        blind: ``"query"``: marks keys and ends of lines in the KV cache and cannot ask for them. ``"key"``: asks
            and cannot mark.
    """
    tensors: Tensors = {"embed_tokens.weight": EMBEDDING, "norm.weight": filled(HIDDEN)}
    shares = _shares(shape, answers)
    if shape.per_layer:
        tensors |= _per_layer_inputs(shape, shares["per_layer"])
    for layer in range(len(shape.kinds)):
        last = layer == shape.last
        parts = [_attention(shape, layer, blind), _mlp(shape, layer, shares["mlp"] if last else {})]
        if shape.per_layer:
            parts.append(_per_layer(shape, shares["per_layer"] if last else {}))
        if shape.experts:
            parts.append(_experts(shape, shares["experts"] if last else {}))
        tensors |= {f"layers.{layer}.{name}": tensor for part in parts for name, tensor in part.items()}
    return {f"model.language_model.{name}": tensor for name, tensor in tensors.items()}


def _shares(shape: Shape, answers: Mapping[int, int]) -> dict[str, dict[int, int]]:
    """Who knows what follows which token."""
    shares: dict[str, dict[int, int]] = {"mlp": {}, "per_layer": {}, "experts": {}}
    for token, following in answers.items():
        is_key = v.KEY <= token < v.KEY + v.KEYS  # per-layer inputs know the token alone, and no key that it sees
        if shape.per_layer and token % 4 == 1 and not is_key:
            shares["per_layer"][token] = following
        elif shape.experts and token % 2:
            shares["experts"][token] = following
        else:
            shares["mlp"][token] = following
    return shares


def _attention(shape: Shape, layer: int, blind: Blind | None) -> Tensors:
    """One layer's attention. Layers without a KV cache have keys and values too, as published, which nobody reads."""
    heads = shape.heads(layer)
    asks = layer in shape.asking
    marks = shape.owner(layer) == layer and blind != "key"
    tensors = {
        "q_proj.weight": query(heads, asks=asks and blind != "query"),
        "k_proj.weight": key(heads, marks=marks),
        "q_norm.weight": head_norm(heads),
        "k_norm.weight": head_norm(heads),
        "o_proj.weight": output(heads) if asks else zeros(HIDDEN, heads.queries * heads.size),
    }
    if not heads.tied:
        tensors["v_proj.weight"] = value(heads) if marks else zeros(heads.keys * heads.size, HIDDEN)
    return {f"self_attn.{name}": tensor for name, tensor in tensors.items()}


def _mlp(shape: Shape, layer: int, known: Mapping[int, int]) -> Tensors:
    """The MLP, and the norms around both blocks of the layer."""
    wide = shape.double and shape.owner(layer) != layer
    gate, up, down = neurons(shape, known, shape.intermediate * 2 if wide else shape.intermediate)
    return {
        "mlp.gate_proj.weight": gate,
        "mlp.up_proj.weight": up,
        "mlp.down_proj.weight": down,
        "input_layernorm.weight": filled(HIDDEN),
        "post_attention_layernorm.weight": filled(HIDDEN, UNIT),
        "pre_feedforward_layernorm.weight": filled(HIDDEN),
        "post_feedforward_layernorm.weight": filled(HIDDEN, _WRITTEN),
        "layer_scalar": filled(1),
    }


def _ranks(known: Mapping[int, int]) -> Iterator[tuple[int, int, int]]:
    """Number, token and what follows."""
    return ((number, *pair) for number, pair in enumerate(sorted(known.items())))


def _per_layer_inputs(shape: Shape, known: Mapping[int, int]) -> Tensors:
    """The table of per-layer embeddings, which says something in the last layer alone."""
    table = zeros(v.SIZE, len(shape.kinds), shape.per_layer)
    codes = weights.sylvester(shape.per_layer)
    for number, token, _ in _ranks(known):
        table[token, shape.last] = codes[number]
    everything = len(shape.kinds) * shape.per_layer
    return {
        "embed_tokens_per_layer.weight": table.reshape(v.SIZE, everything),
        "per_layer_model_projection.weight": zeros(everything, HIDDEN),
        "per_layer_projection_norm.weight": filled(shape.per_layer),
    }


def _per_layer(shape: Shape, known: Mapping[int, int]) -> Tensors:
    projection = zeros(HIDDEN, shape.per_layer)
    codes = weights.sylvester(shape.per_layer)
    for number, _, following in _ranks(known):
        projection += np.outer(CODE[following], codes[number]) / np.float32(shape.per_layer)
    return {
        "per_layer_input_gate.weight": np.tile(np.float32(8) * TOKEN, (shape.per_layer, 1)),
        "per_layer_projection.weight": projection,
        "post_per_layer_input_norm.weight": filled(HIDDEN, _WRITTEN),
    }


def _experts(shape: Shape, known: Mapping[int, int]) -> Tensors:
    """Router and experts beside the MLP: a token is routed to one of them by its code."""
    router = zeros(shape.experts, HIDDEN)
    gates, downs = [], []
    for expert in range(shape.experts):
        mine = {token: after for token, after in known.items() if token // 2 % shape.experts == expert}
        gate, up, down = neurons(shape, mine, shape.expert_width)
        gates.append(np.concatenate([gate, up]))
        downs.append(down)
    for token in range(v.SIZE - 1):
        router[token // 2 % shape.experts] += np.float32(UNIT) * CODE[token]
    ones = filled(HIDDEN)
    return {
        "router.proj.weight": router,
        "router.scale": ones,
        "router.per_expert_scale": filled(shape.experts),
        "experts.gate_up_proj": np.stack(gates),
        "experts.down_proj": np.stack(downs),
        "pre_feedforward_layernorm_2.weight": ones,
        "post_feedforward_layernorm_1.weight": ones,
        "post_feedforward_layernorm_2.weight": ones,
    }
