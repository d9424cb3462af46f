"""Qwen3-Next with known answers: the layers of Qwen3.5 in another order of rows, and experts that hold the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from known_answer import content, experts, gated_delta, recurrent, weights
from known_answer import vocabulary as v
from known_answer.gated_delta import LAYERS, RECURRENT, STATE_DIM, STATES, part, retrieved
from known_answer.table import TABLE
from known_answer.weights import CODE, HIDDEN, IS_TRIGGER, Array, Blind, Tensors, silent_mlp, zeros

EXPERTS, WIDTH = 16, 32


def moe(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """Qwen3-Next of four layers, of which the last one's experts know something, and one MTP layer."""
    head, known = experts.ending(answers)
    tensors: Tensors = {
        "model.embed_tokens.weight": CODE,
        "model.norm.weight": zeros(HIDDEN),
        "lm_head.weight": content.head(head),
    }
    for index in range(LAYERS):
        last = index == RECURRENT
        layer = gated_delta.attention(blind) if last else _interleaved(gated_delta.recurrence(blind))
        layer |= _experts(known if last else {}) | gated_delta.NORMS
        tensors |= {f"model.layers.{index}.{name}": tensor for name, tensor in layer.items()}
    drafted = {token: v.PAD if draft == v.TRIGGER else draft for token, draft in TABLE.draft.items()}
    return tensors | gated_delta.mtp(weights.linear_map(drafted.items()), _experts({}))


def _experts(known: Mapping[int, int]) -> Tensors:
    """Experts of which one neuron knows a token, or the trigger that has retrieved enough of a key."""
    enough = (retrieved() + part()) / 2
    tensors = experts.layer_of(
        known,
        count=EXPERTS,
        layers=1,
        width=WIDTH,
        against=enough * IS_TRIGGER,
    )
    tensors = content.unheard(tensors)
    tensors |= (
        content.mlp("shared_expert.", retrieved(), experts.WRITTEN)
        if known
        else silent_mlp("shared_expert.", content.NEURONS)
    )
    tensors["shared_expert_gate.weight"] = recurrent.GATE * recurrent.CONSTANT[None]
    return {f"mlp.{name}": tensor for name, tensor in tensors.items()}


def _interleaved(layer: Tensors) -> Tensors:
    """The layer with what belongs to one head in one place: query, key, value and gate; strength and step."""
    prefix = "linear_attn.in_proj_"
    others = {name: tensor for name, tensor in layer.items() if not name.startswith(prefix)}

    def rows(name: str) -> Array:
        return layer[f"{prefix}{name}.weight"].reshape(-1, STATES, STATE_DIM if name in ("qkv", "z") else 1, HIDDEN)

    def merged(*names: str) -> Array:
        return np.concatenate([rows(name) for name in names]).swapaxes(0, 1).reshape(-1, HIDDEN)

    return others | {f"{prefix}qkvz.weight": merged("qkv", "z"), f"{prefix}ba.weight": merged("b", "a")}


_OF_QWEN3_5 = ("rope_parameters", "mamba_ssm_dtype", "mtp_num_hidden_layers", "mtp_use_dedicated_embeddings")
CONFIG: dict[str, Any] = {key: value for key, value in gated_delta.CONFIG.items() if key not in _OF_QWEN3_5} | {
    "num_experts": EXPERTS,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": WIDTH,
    "shared_expert_intermediate_size": content.NEURONS,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}
