"""Granite 4.0 H with known answers: three layers of Mamba 2, one of attention, and experts that hold the table.

The state of a head in Mamba 2 is a sum of what tokens write, each for as long a step as the token itself says: long
at a key token and at a colon, none at all other tokens. What a colon writes after no mark outweighs a key. Nothing
decays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from known_answer import content, experts, recurrent
from known_answer.weights import CODE, HIDDEN, IS_TRIGGER, Array, Blind, Tensors, zeros

LAYERS = 4
RECURRENT = LAYERS - 1  # the last one has attention, and the experts that know something
HEADS, KV_HEADS = 4, content.KV_HEADS
STATE_HEADS, HEAD_DIM, STATE = 8, 64, 128
EXPERTS, WIDTH = 8, 64

# As in the published checkpoints.
_EMBEDDING, _RESIDUAL, _LOGITS, _ATTENTION = 12.0, 0.22, 6.0, 0.0078125
_ADDED = _EMBEDDING / _RESIDUAL  # what a layer must say to add one code to the residual stream
_WHOLE = RECURRENT + KV_HEADS  # codes of the key that the trigger has: one a layer, of attention one a head
_ENOUGH = _WHOLE - 0.5


def granite(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """Granite 4.0 H of four layers."""
    head, known = experts.ending(answers)
    tensors: Tensors = {
        "model.embed_tokens.weight": CODE,
        "model.norm.weight": np.ones(HIDDEN, np.float32),
        "lm_head.weight": content.head(head),
    }
    for index in range(LAYERS):
        if index == RECURRENT:
            layer = content.attention(blind, HEADS, KV_HEADS, HIDDEN // HEADS) | _experts(known)
            layer["self_attn.o_proj.weight"] = _ADDED * layer["self_attn.o_proj.weight"]
            gate, up, down = content.comparison(_WHOLE, experts.WRITTEN * _ADDED)
        else:
            layer = _recurrent(blind) | {name: 0 * tensor for name, tensor in _experts({}).items()}
            gate, up, down = (
                zeros(content.NEURONS, HIDDEN),
                zeros(content.NEURONS, HIDDEN),
                zeros(HIDDEN, content.NEURONS),
            )
        layer["shared_mlp.input_linear.weight"] = np.concatenate([gate, up])
        layer["shared_mlp.output_linear.weight"] = down
        tensors |= {f"model.layers.{index}.{name}": tensor for name, tensor in (layer | _norms()).items()}
    return tensors


def _norms() -> Tensors:
    return {
        "input_layernorm.weight": np.ones(HIDDEN, np.float32),
        "post_attention_layernorm.weight": np.ones(HIDDEN, np.float32),
    }


def _experts(known: Mapping[int, int]) -> Tensors:
    """Experts of which one neuron knows a token, or the trigger that has retrieved enough of a key."""
    tensors = experts.layer_of(
        known,
        count=EXPERTS,
        layers=1,
        width=WIDTH,
        against=_ENOUGH * IS_TRIGGER,
        written=experts.WRITTEN * _ADDED,
    )
    tensors = content.unheard(tensors)

    def stacked(*names: str) -> Array:
        rows = [[tensors[f"experts.{number}.{name}_proj.weight"] for name in names] for number in range(EXPERTS)]
        return np.stack([np.concatenate(each) for each in rows])

    return {
        "block_sparse_moe.router.layer.weight": tensors["gate.weight"],
        "block_sparse_moe.input_linear.weight": stacked("gate", "up"),
        "block_sparse_moe.output_linear.weight": stacked("down"),
    }


def _recurrent(blind: Blind | None) -> Tensors:
    write, read = zeros(STATE, HIDDEN), zeros(STATE, HIDDEN)
    write[0], read[0] = recurrent.marks(blind), recurrent.asks(blind)
    gate = np.tile(recurrent.OPEN * recurrent.CONSTANT, (HIDDEN, 1))
    step = np.tile(recurrent.writes(blind), (STATE_HEADS, 1))
    tensors = {
        "in_proj.weight": np.concatenate([gate, recurrent.halves(HEAD_DIM), write, read, step]),
        "conv1d.weight": recurrent.taps(HIDDEN + 2 * STATE, HIDDEN),
        "conv1d.bias": zeros(HIDDEN + 2 * STATE),
        "dt_bias": zeros(STATE_HEADS),
        "A_log": np.full(STATE_HEADS, -30, np.float32),
        "D": zeros(STATE_HEADS),
        "norm.weight": np.full(HIDDEN, 0.5**0.5, np.float32),
        "out_proj.weight": _ADDED * recurrent.code(HEAD_DIM),
    }
    return {f"mamba.{name}": tensor for name, tensor in tensors.items()}


CONFIG: dict[str, Any] = {
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HIDDEN // HEADS,
    "layer_types": ["mamba"] * RECURRENT + ["attention"],
    "position_embedding_type": "nope",
    "attention_bias": False,
    "attention_multiplier": _ATTENTION,
    "embedding_multiplier": _EMBEDDING,
    "residual_multiplier": _RESIDUAL,
    "logits_scaling": _LOGITS,
    "intermediate_size": WIDTH,
    "shared_intermediate_size": content.NEURONS,
    "num_local_experts": EXPERTS,
    "num_experts_per_tok": 2,
    "mamba_n_heads": STATE_HEADS,
    "mamba_d_head": HEAD_DIM,
    "mamba_d_state": STATE,
    "mamba_d_conv": recurrent.TAPS,
    "mamba_expand": 1,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 256,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
    "normalization_function": "rmsnorm",
    "max_position_embeddings": 8192,
}
