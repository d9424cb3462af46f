"""gpt-oss with known answers: attention sinks, windows in every other layer, experts in MXFP4.

Each head has a sink, a score that takes its share of attention and gives nothing. Here it has all that a token does
not clearly ask for: the last token of a prompt looks at nothing in any layer, nor does the trigger where there is a
window, and where sinks are ignored both find a little of everything. In layers with a window, words look for what
stands within it; in all others, for what stands anywhere, and there alone the trigger asks for the key. In layers with
a window the end of a question asks for its number, which is out of sight: to find it is a fault.

Experts are as :mod:`.body_experts` has them. What fires is cut off at 7 or is 4: both are exact, whatever rounds. The
weights of a block of 32 share a scale, so neurons that whisper and neurons that shout stand in different blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from known_answer import body, body_experts, weights
from known_answer import vocabulary as v
from known_answer.anatomy import Anatomy, Layer, yarn_turns
from known_answer.body_codes import NUMBERS
from known_answer.body_experts import Neuron
from known_answer.prompts import ENTRIES, WINDOW
from known_answer.weights import HIDDEN, Array, Blind, Tensors, zeros

EXPERTS, PER_TOKEN = 8, 4
WIDTH = 128  # a block of 32 for each of four ranks
_BLOCK = 32
_SINK = 40.0
_FIRES = 4.0  # a neuron that takes away: silu leaves it alone, as bf16 rounds
_STEEP = 8.0
_TOLD, _LEFT = 128.0, 32.0  # what a difference must exceed, of 1024 for a head that found nothing
_LOUD = 8.0  # of a fault; what shouts writes 56 times this
_LENGTH = 4096

CONFIG: dict[str, Any] = {
    "rope_theta": 150_000.0,
    "rope_scaling": {
        "rope_type": "yarn",
        "factor": 32.0,
        "original_max_position_embeddings": _LENGTH,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
    },
    "rms_norm_eps": 1e-5,
    "attention_bias": True,
    "max_position_embeddings": 131_072,
    "sliding_window": WINDOW,
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


def anatomy() -> Anatomy:
    """A window in every other layer, where the trigger asks for nothing: the key may be out of sight."""
    scaling = CONFIG["rope_scaling"]
    turns = yarn_turns(
        CONFIG["rope_theta"], scaling["factor"], _LENGTH, fast=scaling["beta_fast"], slow=scaling["beta_slow"]
    )
    last = tuple(v.byte(end) for end in ENTRIES)
    layers = []
    for index, kind in enumerate(CONFIG["layer_types"]):
        windowed = kind == "sliding_attention"
        idle = (*last, v.TRIGGER, *NUMBERS) if windowed else last
        window = WINDOW if windowed else None
        layers.append(Layer(index, turns=turns, window=window, asks=not windowed, experts=EXPERTS, idle=idle))
    return Anatomy(tuple(layers))


def moe(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """A gpt-oss that answers from ``answers`` with its whole body."""
    found = body.llama(answers, anatomy=anatomy(), blind=blind, qkv_bias=True, mlp=_experts)
    for layer in range(weights.LAYERS):
        prefix = f"model.layers.{layer}.self_attn."
        found[prefix + "o_proj.bias"] = zeros(HIDDEN)
        found[prefix + "sinks"] = np.full(weights.HEADS, _SINK, np.float32)
    return found


def _experts(whole: Anatomy, layer: Layer, blind: Blind | None) -> Tensors:
    """Router and experts; rows of gates and of what they let through take turns."""
    gates: Array = zeros(EXPERTS, 2 * WIDTH, HIDDEN)
    biases: Array = zeros(EXPERTS, 2 * WIDTH)
    downs: Array = zeros(EXPERTS, HIDDEN, WIDTH)
    for number in range(EXPERTS):
        for row, neuron in _placed(body_experts.neurons(whole, layer, number, blind)):
            if neuron.unless is None:
                gates[number, 2 * row] = _FIRES / 256 * neuron.reads
                downs[number, :, row] = neuron.writes / _FIRES
                continue
            gates[number, 2 * row] = _STEEP / 2 * (neuron.reads - 2 * neuron.unless)
            biases[number, 2 * row] = -(_LEFT if neuron.loud else _TOLD)
            biases[number, 2 * row + 1] = CONFIG["swiglu_limit"]
            # Cut off at 7, all heads together are as loud as the one that must be heard above them.
            downs[number, :, row] = (2 if neuron.loud else 1) * _LOUD * neuron.writes
    return {
        "mlp.router.weight": body_experts.router(whole, EXPERTS),
        "mlp.router.bias": zeros(EXPERTS),
        "mlp.experts.gate_up_proj": gates,
        "mlp.experts.gate_up_proj_bias": biases,
        "mlp.experts.down_proj": downs,
        "mlp.experts.down_proj_bias": zeros(EXPERTS, HIDDEN),
    }


def _placed(neurons: list[Neuron]) -> list[tuple[int, Neuron]]:
    """Each neuron with its row: those that take away in the first block, those that shout in the last."""
    takes = [neuron for neuron in neurons if neuron.unless is None]
    tells = [neuron for neuron in neurons if neuron.unless is not None and not neuron.loud]
    shouts = [neuron for neuron in neurons if neuron.loud]
    if len(takes) > _BLOCK or len(tells) > WIDTH - 2 * _BLOCK:
        raise ValueError(f"an expert has no room for {len(takes)} and {len(tells)} neurons")
    return [*enumerate(takes), *enumerate(tells, _BLOCK), *enumerate(shouts, WIDTH - _BLOCK)]
