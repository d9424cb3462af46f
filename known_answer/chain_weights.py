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
    layers_alone = weights.llama({}, layers=layers, retrieval=None, qkv_bias=qkv_bias)
    return layers_alone | {
        "model.embed_tokens.weight": np.stack([weights.CODE[chain.state_of(token)] for token in range(v.SIZE)]),
        "lm_head.weight": head() if drafted is None else _drafting_head(drafted),
    }


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
    square, identity = weights.zeros(weights.HIDDEN, weights.HIDDEN), np.eye(weights.HIDDEN, dtype=np.float32)
    return target(qkv_bias=True) | weights.mtp_layer(np.concatenate([square, identity], axis=1))
