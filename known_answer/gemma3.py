"""Gemma 3 with known answers: the mechanism of :mod:`.gemma4` in an older architecture.

It has norms around every block and tied embeddings too, and layers with a window among those that see everything. Its
norms multiply by one more than their weights, values have no norm, and scores are divided by the root of a number in
the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from known_answer import gemma4
from known_answer.gemma4 import COMMON_CONFIG
from known_answer.gemma_shape import FULL, SLIDING, Heads, Shape
from known_answer.weights import Blind, Tensors

FACTOR = 8.0  # by which positions are divided in layers that see everything, as the published checkpoints have it
_SIZE = 256

SHAPE = Shape(Heads(SLIDING, _SIZE, 2, 2), Heads(FULL, _SIZE, 2, 2, factor=FACTOR), (SLIDING, FULL) * 2)

CONFIG: dict[str, Any] = {
    **COMMON_CONFIG,
    "model_type": "gemma3_text",
    "num_hidden_layers": len(SHAPE.kinds),
    "layer_types": list(SHAPE.kinds),
    "num_attention_heads": SHAPE.full.queries,
    "num_key_value_heads": SHAPE.full.keys,
    "head_dim": _SIZE,
    "query_pre_attn_scalar": _SIZE,
    "intermediate_size": SHAPE.intermediate,
    "rope_theta": 1e6,
    "rope_local_base_freq": 1e4,
    "rope_scaling": {"rope_type": "linear", "factor": FACTOR},
}


def text(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """The language model: tensors as the published checkpoints name them."""
    found: Tensors = {}
    for name, tensor in gemma4.text(SHAPE, answers, blind).items():
        if name.endswith("layer_scalar"):
            continue
        if name.endswith("norm.weight"):
            if "self_attn" in name:
                tensor = tensor * np.float32(_SIZE**0.25)  # noqa: PLW2901 # queries and keys each take half of it
            tensor = tensor - 1  # noqa: PLW2901 # in its own place
        found[name.replace("model.language_model.", "language_model.model.")] = tensor
    return found
