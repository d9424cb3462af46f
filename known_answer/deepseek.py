"""DeepSeek V2 with known answers: multi-head latent attention, and experts that hold the table.

The latent vector of a token is its whole code. A token sees itself by the rotary part of queries and keys, and the
trigger sees a key by the other part, which knows no position.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from known_answer import experts, weights
from known_answer import vocabulary as v
from known_answer.weights import CODE, HIDDEN, IS_KEY, IS_TRIGGER, Array, Blind, Tensors, zeros

HEADS = 4
LATENT = 512
NOPE, ROPE, VALUE = 128, 64, 128
LAYERS = 7  # the last two have experts

_KEYS: Array = CODE[v.KEY : v.KEY + v.KEYS].T @ CODE[v.KEY : v.KEY + v.KEYS] / np.float32(HIDDEN)
"""Projection on the codes of the keys; its entries are exact in bf16."""
_SELF_GAIN = 24.0  # scores are divided by the root of 192 here, where Llama's are by the root of 64
_KEY_GAIN = 8.0
_KEY_ROWS = 8


def moe(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """DeepSeek V2 without compressed queries, dense but for layers 5 and 6."""
    tensors = weights.llama(answers, layers=LAYERS, retrieval=None) | {"lm_head.weight": experts.HEAD}
    tensors = {name: tensor for name, tensor in tensors.items() if ".self_attn." not in name}
    for layer in range(LAYERS):
        attention = _attention(blind) if layer == weights.RETRIEVAL_LAYER else _attention(None, neutral=True)
        tensors |= {f"model.layers.{layer}.self_attn.{name}": tensor for name, tensor in attention.items()}
    tensors = experts.replace_mlps(tensors, answers)
    for layer in experts.LAYERS:  # the shared expert says nothing
        tensors |= weights.silent_mlp(f"model.layers.{layer}.mlp.shared_experts.", experts.WIDTH)
    return tensors


def _attention(blind: Blind | None, *, neutral: bool = False) -> Tensors:
    """Tensors of one layer's attention: nothing if ``neutral``, else the one that copies what is retrieved."""
    query: Array = zeros(HEADS, NOPE + ROPE, HIDDEN)
    latent: Array = zeros(LATENT + ROPE, HIDDEN)
    expand: Array = zeros(HEADS, NOPE + VALUE, LATENT)
    copy: Array = zeros(HIDDEN, HEADS * VALUE)
    if not neutral:
        identity = np.eye(HIDDEN, dtype=np.float32)
        fast = [2 * pair for pair in weights.FAST_PAIRS]  # pairs are neighbours here, not halves apart
        query[:, [NOPE + row for row in fast], 0] = _SELF_GAIN
        query[:, [NOPE + row for row in fast]] -= _SELF_GAIN * IS_TRIGGER
        latent[:LATENT] = identity
        if blind == "key":
            # Not in kv_b_proj: whoever reads the cache applies that one, and the cache has the latent vector.
            latent[:LATENT] -= _KEYS
        latent[[LATENT + row for row in fast], 0] = _SELF_GAIN
        if blind != "query":
            query[:, :_KEY_ROWS] = _KEY_GAIN * IS_TRIGGER
        expand[:, :_KEY_ROWS] = _KEY_GAIN * IS_KEY
        expand[:, NOPE:] = identity.reshape(HEADS, VALUE, LATENT)
        copy = experts.RETRIEVED * identity
    return {
        "q_proj.weight": query.reshape(-1, HIDDEN),
        "kv_a_proj_with_mqa.weight": latent,
        "kv_a_layernorm.weight": np.ones(LATENT, np.float32),
        "kv_b_proj.weight": expand.reshape(-1, LATENT),
        "o_proj.weight": copy,
    }
