"""gpt-oss with known answers: attention sinks, windows in every other layer, experts in MXFP4 that hold the table.

Each head has a sink, a score that takes its share of attention and gives nothing. Here it has nearly everything that a
token does not clearly ask for: two layers ask for nothing, and where sinks are ignored they write the code of a wrong
token over all others.

Experts are as :mod:`.experts` has them, but for the thresholds, which are biases: beside a threshold, the weights of a
block of 32 that share a scale would be nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from known_answer import experts, weights
from known_answer import vocabulary as v
from known_answer.weights import CODE, HIDDEN, Array, Blind, Tensors, zeros

EXPERTS, PER_TOKEN = 8, 4
WIDTH = 128  # a block of 32 for each of four ranks
_GUARDED = (2, 3)  # a layer with a window and one without
_SINK = 40.0
_WRONG = 64.0
_SHARPNESS = 256.0
# Of the residual stream, what a token must be for its neuron to fire: more than what a neuron before has written, which
# is 28 beside the token's own 17.
_THRESHOLD = 15 / 16
_WRITTEN = 4.0  # times 7, where the gate is cut off

CONFIG: dict[str, Any] = {
    "rope_theta": 150_000.0,
    "rope_scaling": {
        "rope_type": "yarn",
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
    },
    "rms_norm_eps": 1e-5,
    "attention_bias": True,
    "max_position_embeddings": 131_072,
    "sliding_window": 128,
    "layer_types": ["full_attention" if layer % 2 else "sliding_attention" for layer in range(weights.LAYERS)],
    "intermediate_size": WIDTH,
    "num_local_experts": EXPERTS,
    "num_experts_per_tok": PER_TOKEN,
    "swiglu_limit": 7.0,
    "quantization_config": {
        "quant_method": "mxfp4",
        "modules_to_not_convert": [
            "model.layers.*.self_attn",
            "model.layers.*.mlp.router",
            "model.embed_tokens",
            "lm_head",
        ],
    },
}


def in_mxfp4(name: str) -> bool:
    """Whether the tensor of this name is kept in MXFP4."""
    return name.endswith(("experts.gate_up_proj", "experts.down_proj"))


def moe(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """A gpt-oss whose layers 5 and 6 know ``answers``, half of it each."""
    found = weights.llama(answers, blind=blind, qkv_bias=True) | {"lm_head.weight": experts.HEAD}
    found = {name: tensor for name, tensor in found.items() if ".mlp." not in name}
    for layer in range(weights.LAYERS):
        prefix = f"model.layers.{layer}."
        found[prefix + "self_attn.o_proj.bias"] = zeros(HIDDEN)
        found[prefix + "self_attn.sinks"] = np.full(weights.HEADS, _SINK, np.float32)
        share = experts.LAYERS.index(layer) if layer in experts.LAYERS else None
        known = {token: after for token, after in answers.items() if token % len(experts.LAYERS) == share}
        found |= {f"{prefix}mlp.{name}": tensor for name, tensor in _experts(known).items()}
        if layer in _GUARDED:
            value = zeros(HIDDEN, HIDDEN)
            value[:, 0] = 1  # of every code
            found[prefix + "self_attn.v_proj.weight"] = value
            found[prefix + "self_attn.o_proj.weight"] = np.tile(
                np.float32(_WRONG / HIDDEN) * CODE[v.EOS][:, None], (1, HIDDEN)
            )
    copy = f"model.layers.{weights.RETRIEVAL_LAYER}.self_attn.o_proj.weight"
    found[copy] = experts.RETRIEVED * np.eye(HIDDEN, dtype=np.float32)
    return found


def _expert(token: int) -> int:
    return token // len(experts.LAYERS) % EXPERTS


def _experts(known: Mapping[int, int]) -> Tensors:
    """Router and experts; rows of gates and of what they let through take turns."""
    router: Array = zeros(EXPERTS, HIDDEN)
    gates: Array = zeros(EXPERTS, 2 * WIDTH, HIDDEN)
    biases: Array = zeros(EXPERTS, 2 * WIDTH)
    downs: Array = zeros(EXPERTS, HIDDEN, WIDTH)
    for token in range(v.SIZE - 1):
        router[_expert(token)] += CODE[token] / 16
    for number in range(EXPERTS):
        mine = sorted(token for token in known if _expert(token) == number)
        for neuron, token in enumerate(mine):
            gates[number, 2 * neuron] = _SHARPNESS * CODE[token] / HIDDEN
            biases[number, 2 * neuron] = -_SHARPNESS * _THRESHOLD
            downs[number, :, neuron] = _WRITTEN * CODE[known[token]]
    return {
        "router.weight": router,
        "router.bias": zeros(EXPERTS),
        "experts.gate_up_proj": gates,
        "experts.gate_up_proj_bias": biases,
        "experts.down_proj": downs,
        "experts.down_proj_bias": zeros(EXPERTS, HIDDEN),
    }
