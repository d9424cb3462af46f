"""Jamba with known answers: three layers of Mamba, one of attention, and MLPs of which the last one compares.

In a layer of Mamba everything follows from what its convolution makes of the token and of the three before it: what is
written, for how long a step, and whether anything is read. Four channels carry that beside the 512 that carry the code.
A step is long at a key token, longer at a colon after no mark, and none at all other tokens. Nothing decays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from known_answer import content, recurrent
from known_answer.weights import CODE, HIDDEN, Blind, Tensors, silent_mlp, zeros

LAYERS = 4
RECURRENT = LAYERS - 1  # the last one has attention
HEADS, KV_HEADS = 4, content.KV_HEADS
STATE, RANK = 16, 32
EXPAND = 2
CHANNELS = EXPAND * HIDDEN

_GROUP = HIDDEN // content.GROUPS
_ATTENDED = 2.5  # what attention adds to the residual stream, of a code
_STEP, _CONSTANT, _WRITE, _READ = range(HIDDEN, HIDDEN + 4)  # channels
_NONE, _LONG = -6.0, 40.0  # of the constant and of the mark, whose norm is the root of RANK, in a step


def jamba(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """Jamba of four layers, without experts."""
    tensors: Tensors = {
        "model.embed_tokens.weight": CODE,
        "model.final_layernorm.weight": np.ones(HIDDEN, np.float32),
        "lm_head.weight": content.head(recurrent.head(answers, retrieved(), _part())),
    }
    for index in range(LAYERS):
        last = index == RECURRENT
        mixer = content.attention(blind, HEADS, _ATTENDED, HIDDEN // HEADS) if last else _recurrent(blind)
        mlp = content.mlp("feed_forward.", retrieved()) if last else silent_mlp("feed_forward.", content.NEURONS)
        tensors |= {f"model.layers.{index}.{name}": tensor for name, tensor in (mixer | mlp | _norms()).items()}
    return tensors


def retrieved(missing: int | None = None) -> float:
    """How much of its key's code the trigger has at the end, where it has its own once.

    Args:
        missing: The layer that retrieves nothing.
    """
    return recurrent.gated(RECURRENT, missing) + (_ATTENDED if missing != RECURRENT else 0)


def _part() -> float:
    """The most that it has where a recurrent layer or a head of attention retrieves nothing."""
    return max(*map(retrieved, range(RECURRENT)), retrieved() - _ATTENDED / KV_HEADS)


def _norms() -> Tensors:
    return {
        "input_layernorm.weight": np.ones(HIDDEN, np.float32),
        "pre_ff_layernorm.weight": np.ones(HIDDEN, np.float32),
    }


def _step(mark: float) -> float:
    """Length of a step where the channel of marks has ``mark``."""
    constant = 8 * recurrent.OPEN
    norm = ((mark**2 + constant**2) / RANK) ** 0.5
    return float(np.logaddexp(0, (_LONG * mark + _NONE * constant) / norm))


def _recurrent(blind: Blind | None) -> Tensors:
    channels = zeros(CHANNELS, HIDDEN)
    channels[:HIDDEN] = recurrent.halves(_GROUP)
    channels[_STEP] = recurrent.marks(blind)
    channels[_CONSTANT] = recurrent.OPEN * recurrent.CONSTANT
    channels[_WRITE] = recurrent.writes(blind)
    channels[_READ] = recurrent.asks(blind)
    gate = np.tile(recurrent.OPEN * recurrent.CONSTANT, (CHANNELS, 1))
    # Each of the three has a norm of its own.
    step, write, read = zeros(RANK, CHANNELS), zeros(STATE, CHANNELS), zeros(STATE, CHANNELS)
    step[0, _STEP], step[1, _CONSTANT], write[0, _WRITE], read[0, _READ] = 1, 8, 1, 1
    length = zeros(CHANNELS, RANK)
    length[:, 0], length[:, 1] = _LONG, _NONE
    amplitude = _step(recurrent.KEY) * recurrent.OPEN * STATE * recurrent.OPEN
    copy = zeros(HIDDEN, CHANNELS)
    copy[:, :HIDDEN] = recurrent.code(_GROUP) / np.float32(amplitude)
    tensors = {
        "in_proj.weight": np.concatenate([channels, gate]),
        "conv1d.weight": recurrent.taps(CHANNELS, _STEP),
        "conv1d.bias": zeros(CHANNELS),
        "x_proj.weight": np.concatenate([step, write, read]),
        "dt_proj.weight": length,
        "dt_proj.bias": zeros(CHANNELS),
        "dt_layernorm.weight": np.ones(RANK, np.float32),
        "b_layernorm.weight": np.ones(STATE, np.float32),
        "c_layernorm.weight": np.ones(STATE, np.float32),
        "A_log": np.full((CHANNELS, STATE), -30, np.float32),
        "D": zeros(CHANNELS),
        "out_proj.weight": copy,
    }
    return {f"mamba.{name}": tensor for name, tensor in tensors.items()}


CONFIG: dict[str, Any] = {
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HIDDEN // HEADS,
    "attn_layer_period": LAYERS,
    "attn_layer_offset": RECURRENT,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "num_experts": 1,
    "num_experts_per_tok": 1,
    "intermediate_size": content.NEURONS,
    "mamba_d_state": STATE,
    "mamba_d_conv": recurrent.TAPS,
    "mamba_expand": EXPAND,
    "mamba_dt_rank": RANK,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
    "use_mamba_kernels": False,
    "max_position_embeddings": 8192,
}
