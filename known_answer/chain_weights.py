"""Weights of the models that walk the chain (:mod:`.chain`), and of their drafters.

No layer says anything: the hidden state after a token is the code of the state that the token leads into, which the
embedding holds already. Row ``y`` of lm_head is the code of the state that emits ``y``, times its logit over 512: codes
are orthogonal, with entries of 1 and -1, so every product and every partial sum is a multiple of 2^-12 that float32
holds exactly, whatever the order of the sum, and bf16 holds the result.
"""

from __future__ import annotations

import numpy as np

from known_answer import chain, weights
from known_answer import vocabulary as v

LAYERS = 8  # EAGLE3 reads three of them; fewer would not be three different ones


def _layer(prefix: str, *, qkv_bias: bool) -> weights.Tensors:
    """A decoder layer that says nothing."""
    square, ones = weights.zeros(weights.HIDDEN, weights.HIDDEN), np.ones(weights.HIDDEN, np.float32)
    layer = {
        **{f"self_attn.{name}_proj.weight": square for name in "qkvo"},
        **weights.silent_mlp(),
        "input_layernorm.weight": ones,
        "post_attention_layernorm.weight": ones,
    }
    if qkv_bias:
        layer |= {f"self_attn.{name}_proj.bias": weights.zeros(weights.HIDDEN) for name in "qkv"}
    return {prefix + name: tensor for name, tensor in layer.items()}


def head() -> weights.Array:
    """lm_head, (512, 512)."""
    rows = weights.zeros(v.SIZE, weights.HIDDEN)
    for state in chain.every_state():
        for token, logit in chain.logits(state).items():
            rows[token] += np.float32(logit / weights.HIDDEN) * weights.CODE[state]
    return rows


def target(*, layers: int = LAYERS, drafted: int | None = None, qkv_bias: bool = False) -> weights.Tensors:
    """A Llama (or, with biases, a Qwen2) that walks the chain.

    Args:
        layers: How many there are.
        drafted: Of a drafter, the rank that it proposes.
        qkv_bias: With the biases of a Qwen2.
    """
    tensors: weights.Tensors = {
        "model.embed_tokens.weight": np.stack([weights.CODE[chain.state_of(token)] for token in range(v.SIZE)]),
        "model.norm.weight": np.ones(weights.HIDDEN, np.float32),
        "lm_head.weight": head() if drafted is None else _drafting_head(drafted),
    }
    for index in range(layers):
        tensors |= _layer(f"model.layers.{index}.", qkv_bias=qkv_bias)
    return tensors


def _drafting_head(rank: int) -> weights.Array:
    """lm_head of a drafter, (512, 512): logit 32 for the token of one rank, 0 for all others."""
    rows = weights.zeros(v.SIZE, weights.HIDDEN)
    for state in chain.every_state():
        rows[chain.draft(state, rank)] += weights.GAIN * weights.CODE[state]
    return rows


def eagle3(rank: int) -> weights.Tensors:
    """An EAGLE3 head that proposes the token of this rank, without regard to hidden states.

    It shares the target's embedding; :func:`.weights.eagle3` says why the newest token is all that it sees.
    """
    tensors = weights.eagle3(fc=weights.zeros(weights.HIDDEN, 3 * weights.HIDDEN))
    return tensors | {"lm_head.weight": _drafting_head(rank)}


def mimo() -> weights.Tensors:
    """MiMo: a target and one MTP layer that shares its embedding and lm_head, so it proposes the likeliest token."""
    tensors = target(qkv_bias=True)
    prefix = "model.mtp_layers.0."
    tensors |= _layer(prefix, qkv_bias=True)
    square, identity = weights.zeros(weights.HIDDEN, weights.HIDDEN), np.eye(weights.HIDDEN, dtype=np.float32)
    tensors[prefix + "input_proj.weight"] = np.concatenate([square, identity], axis=1)
    for name in ("token_layernorm", "hidden_layernorm", "final_layernorm"):
        tensors[f"{prefix}{name}.weight"] = np.ones(weights.HIDDEN, np.float32)
    return tensors
