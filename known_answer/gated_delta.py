"""Qwen3.5 with known answers: layers of a gated delta net, one of attention, and an MTP layer that drafts.

A gated delta net keeps a matrix S a head. A token of key k, value v and strength b makes S + b (v - S k) k' of it.
Here there is but one k: a key token overwrites what was there with its code, and a colon after no mark with its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from known_answer import content, recurrent, weights
from known_answer.table import TABLE
from known_answer.weights import CODE, HIDDEN, IS_TRIGGER, Array, Blind, Tensors, silent_mlp, zeros

LAYERS = 4
RECURRENT = LAYERS - 1  # the last one has attention
HEADS, KV_HEADS, HEAD_DIM, ROTARY = 4, content.KV_HEADS, 256, 64
STATES, STATE_DIM = 4, 128

_ATTENDED = 2.5  # what attention adds to the residual stream, of a code


def qwen3_5(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """Qwen3.5 of four layers, three of them recurrent, with one MTP layer."""
    prefix = "model.language_model."
    tensors: Tensors = {
        f"{prefix}embed_tokens.weight": CODE,
        f"{prefix}norm.weight": zeros(HIDDEN),
        "lm_head.weight": content.head(recurrent.head(answers, retrieved(), part())),
    }
    for index in range(LAYERS):
        last = index == RECURRENT
        layer = (
            attention(blind) | content.mlp("mlp.", retrieved())
            if last
            else recurrence(blind) | silent_mlp(width=content.NEURONS)
        )
        tensors |= {f"{prefix}layers.{index}.{name}": tensor for name, tensor in (layer | NORMS).items()}
    return tensors | mtp(weights.draft_map(TABLE), silent_mlp(width=content.NEURONS))


def retrieved(missing: int | None = None) -> float:
    """How much of its key's code the trigger has at the end, where it has its own once.

    Args:
        missing: The layer that retrieves nothing.
    """
    return recurrent.gated(RECURRENT, missing) + (_ATTENDED if missing != RECURRENT else 0)


def part() -> float:
    """The most that it has where a recurrent layer or a head of attention retrieves nothing."""
    return max(*map(retrieved, range(RECURRENT)), retrieved() - _ATTENDED / KV_HEADS)


NORMS: Tensors = {name: zeros(HIDDEN) for name in ("input_layernorm.weight", "post_attention_layernorm.weight")}
"""The norms of a layer: theirs are weights on top of 1."""


def recurrence(blind: Blind | None) -> Tensors:
    """A gated delta net in which nothing decays."""
    query, key = zeros(STATES, STATE_DIM, HIDDEN), zeros(STATES, STATE_DIM, HIDDEN)
    query[:, 0], key[:, 0] = recurrent.asks(blind), recurrent.marks(blind)
    value = recurrent.halves(STATE_DIM).reshape(key.shape)
    taps = [recurrent.taps(STATE_DIM, marked) for marked in (None, 0, None) for _ in range(STATES)]
    tensors = {
        "in_proj_qkv.weight": np.concatenate([query, key, value]).reshape(-1, HIDDEN),
        "in_proj_z.weight": np.tile(recurrent.OPEN * recurrent.CONSTANT, (HIDDEN, 1)),
        "in_proj_b.weight": np.tile(recurrent.writes(blind), (STATES, 1)),
        "in_proj_a.weight": zeros(STATES, HIDDEN),
        "conv1d.weight": np.concatenate(taps),
        "A_log": zeros(STATES),
        "dt_bias": np.full(STATES, -100, np.float32),
        "norm.weight": np.full(STATE_DIM, 0.5**0.5 / recurrent.OPEN, np.float32),
        "out_proj.weight": recurrent.code(STATE_DIM),
    }
    return {f"linear_attn.{name}": tensor for name, tensor in tensors.items()}


def attention(blind: Blind | None, *, neutral: bool = False) -> Tensors:
    """Gated attention: its gate opens at words and at the trigger, and what they ask for knows no position."""
    query, key = zeros(HEADS, 2, HEAD_DIM, HIDDEN), zeros(KV_HEADS, HEAD_DIM, HIDDEN)
    value, copy = zeros(KV_HEADS, HEAD_DIM, HIDDEN), zeros(HIDDEN, HEADS, HEAD_DIM)
    if not neutral:
        rows = slice(ROTARY, ROTARY + content.ADDRESSES)
        query[:, 0, rows], key[:, rows] = content.queries_and_keys(blind, HEADS)
        query[:, 1] = recurrent.GATE * (16 * (IS_TRIGGER + content.WORDS) - recurrent.CONSTANT)
        value, copy = content.values_and_output(HEADS, HEAD_DIM, _ATTENDED)
    ones = np.ones(HEAD_DIM, np.float32)
    return {
        "self_attn.q_proj.weight": query.reshape(-1, HIDDEN),
        "self_attn.k_proj.weight": key.reshape(-1, HIDDEN),
        "self_attn.v_proj.weight": value.reshape(-1, HIDDEN),
        "self_attn.o_proj.weight": copy.reshape(HIDDEN, -1),
        # On top of 1: what is alike makes a score of 256 / 16 * 4 = 64.
        "self_attn.q_norm.weight": ones,
        "self_attn.k_norm.weight": ones,
    }


def mtp(drafts: Array, mlp: Tensors) -> Tensors:
    """The drafter, which sees concat(norm(embedding), norm(hidden)) and shares embedding and head.

    Args:
        drafts: The map (512, 512) from the code of the newest token to what the head makes its draft of.
        mlp: Of its layer.
    """
    layer = attention(None, neutral=True) | mlp | NORMS
    tensors = {f"layers.0.{name}": tensor for name, tensor in layer.items()}
    tensors |= {f"{name}.weight": zeros(HIDDEN) for name in ("norm", "pre_fc_norm_hidden", "pre_fc_norm_embedding")}
    tensors["fc.weight"] = np.concatenate([drafts, zeros(HIDDEN, HIDDEN)], axis=1)
    return {f"mtp.{name}": tensor for name, tensor in tensors.items()}


CONFIG: dict[str, Any] = {
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD_DIM,
    "layer_types": ["linear_attention"] * RECURRENT + ["full_attention"],
    "full_attention_interval": LAYERS,
    "linear_num_key_heads": STATES,
    "linear_num_value_heads": STATES,
    "linear_key_head_dim": STATE_DIM,
    "linear_value_head_dim": STATE_DIM,
    "linear_conv_kernel_dim": recurrent.TAPS,
    "attn_output_gate": True,
    "attention_bias": False,
    "intermediate_size": content.NEURONS,
    "mamba_ssm_dtype": "float32",
    "mtp_num_hidden_layers": 1,
    "mtp_use_dedicated_embeddings": False,
    "partial_rotary_factor": ROTARY / HEAD_DIM,
    "rope_theta": 10_000_000,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000_000,
        "partial_rotary_factor": ROTARY / HEAD_DIM,
        "mrope_interleaved": True,
        "mrope_section": [11, 11, 10],
    },
    "max_position_embeddings": 8192,
}
"""Of the text model."""
