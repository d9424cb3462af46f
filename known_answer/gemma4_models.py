"""The members of the Gemma 4 family that cases use, each in its shape, and what stands in their configuration."""

from __future__ import annotations

from typing import Any

from known_answer import gemma4_assistant as assistant
from known_answer import vocabulary as v
from known_answer.gemma4 import COMMON_CONFIG
from known_answer.gemma_shape import FULL, SLIDING, Heads, Shape
from known_answer.weights import HIDDEN, INTERMEDIATE

SHAPES: dict[str, Shape] = {
    # One key head, per-layer inputs, and the last layers read the KV cache of earlier ones. Heads are of the published
    # sizes in E4B. In E2B they are all alike: vLLM 0.26 reads two sizes from a configuration that transformers 5.17
    # keeps by layer, and stops there.
    "gemma4_e2b": Shape(
        Heads(SLIDING, 256, 2, 1),
        Heads(FULL, 256, 2, 1),
        (SLIDING, SLIDING, FULL) * 2,
        shared=3,
        intermediate=256,
        double=True,
        per_layer=128,
    ),
    "gemma4_e4b": Shape(
        Heads(SLIDING, 256, 2, 1),
        Heads(FULL, 512, 2, 1),
        (SLIDING, SLIDING, FULL) * 2,
        shared=3,
        intermediate=448,
        per_layer=128,
    ),
    # In layers that see everything, keys are values, and there are fewer of them.
    "gemma4_31b": Shape(
        Heads(SLIDING, 64, 4, 4), Heads(FULL, 128, 4, 2, tied=True), (SLIDING, FULL) * 2, intermediate=512
    ),
    "gemma4_26b_a4b": Shape(
        Heads(SLIDING, 64, 4, 4),
        Heads(FULL, 128, 4, 2, tied=True),
        (SLIDING, FULL) * 2,
        intermediate=256,
        experts=8,
        expert_width=128,
    ),
}
"""By the name that checkpoints have."""

ASSISTED = {"gemma4_e4b": True, "gemma4_31b": False, "gemma4_26b_a4b": False}
"""Those with an assistant, and whether it has centroids."""


def _attention(shape: Shape) -> dict[str, Any]:
    """What a target and its assistant have in common."""
    return {
        **COMMON_CONFIG,
        "model_type": "gemma4_text",
        "num_attention_heads": shape.sliding.queries,
        "num_key_value_heads": shape.sliding.keys,
        "num_global_key_value_heads": shape.full.keys if shape.full.tied else None,
        "head_dim": shape.sliding.size,
        "global_head_dim": shape.full.size,
        "attention_k_eq_v": shape.full.tied,
        "rope_parameters": {heads.kind: heads.rope for heads in (shape.sliding, shape.full)},
    }


def text(name: str) -> dict[str, Any]:
    """The configuration of a target's language model."""
    shape = SHAPES[name]
    return _attention(shape) | {
        "num_hidden_layers": len(shape.kinds),
        "layer_types": list(shape.kinds),
        "num_kv_shared_layers": shape.shared,
        "intermediate_size": shape.intermediate,
        "use_double_wide_mlp": shape.double,
        "final_logit_softcapping": 30.0,
        "hidden_size_per_layer_input": shape.per_layer,
        "vocab_size_per_layer_input": v.SIZE,
        "enable_moe_block": shape.experts > 0,
        "num_experts": shape.experts or None,
        "top_k_experts": 2 if shape.experts else None,
        "moe_intermediate_size": shape.expert_width or None,
    }


def of_assistant(name: str) -> dict[str, Any]:
    """The configuration of the assistant of target ``name``."""
    layers = len(assistant.KINDS)
    return {
        "architectures": ["Gemma4AssistantForCausalLM"],
        "model_type": "gemma4_assistant",
        "backbone_hidden_size": HIDDEN,
        "use_ordered_embeddings": ASSISTED[name],
        "num_centroids": assistant.CENTROIDS,
        "centroid_intermediate_top_k": assistant.CHOSEN,
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
        "text_config": _attention(SHAPES[name])
        | {
            "num_hidden_layers": layers,
            "layer_types": list(assistant.KINDS),
            "num_kv_shared_layers": layers,
            "intermediate_size": INTERMEDIATE,
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
            "final_logit_softcapping": None,
        },
    }
