"""Model architectures that a known-answer checkpoint can have: tensors, and what their configuration says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from known_answer import (
    body,
    deepseek,
    experts,
    gated_delta,
    gemma3,
    gemma4,
    gemma4_models,
    gpt_oss,
    mamba,
    mamba2,
    qwen3,
    qwen3_next,
    safetensors,
    vision,
    weights,
)
from known_answer.vision import Beside
from known_answer.weights import Blind, Tensors


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        name: Of the class that engines look up.
        model_type: As the configuration has it.
        tensors: From the table of answers, and what the model is blind to.
        layers: Decoder layers.
        config: What its configuration has on top of the usual, or instead of it.
        drafts: Whether it has an MTP layer that drafts from the table.
        own_cache: Whether it caches something else than keys and values of Llama's heads: a state, a latent vector.
        fp8: Whether the tensor of a name is kept in FP8.
        mxfp4: Whether the tensor of a name is kept in MXFP4.
        beside: What stands beside the language model.
        twins: Whether there are twins of it, for disaggregation.
    """

    name: str
    model_type: str
    tensors: Callable[[Mapping[int, int], Blind | None], Tensors]
    layers: int
    config: Mapping[str, Any] = field(default_factory=dict)
    drafts: bool = False
    own_cache: bool = False
    fp8: Callable[[str], bool] = lambda _: False
    mxfp4: Callable[[str], bool] = lambda _: False
    beside: Beside | None = None
    twins: bool = True


_QWEN3 = {"intermediate_size": body.INTERMEDIATE}
_QWEN3_MOE = _QWEN3 | {
    "num_experts": qwen3.COUNT,
    "num_experts_per_tok": experts.PER_TOKEN,
    "moe_intermediate_size": qwen3.WIDTH,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [index for index in range(weights.LAYERS) if index not in qwen3.WITH_EXPERTS],
}
_QWEN3_MOE_THROUGHOUT = _QWEN3_MOE | {
    "num_experts": qwen3.FEW,
    "moe_intermediate_size": qwen3.NARROW,
    "mlp_only_layers": [],
}
_DEEPSEEK_V2 = {
    "num_attention_heads": deepseek.HEADS,
    "num_key_value_heads": deepseek.HEADS,
    "head_dim": deepseek.ROPE,
    "q_lora_rank": None,
    "kv_lora_rank": deepseek.LATENT,
    "qk_nope_head_dim": deepseek.NOPE,
    "qk_rope_head_dim": deepseek.ROPE,
    "v_head_dim": deepseek.VALUE,
    "n_routed_experts": experts.EXPERTS,
    "n_shared_experts": 1,
    "num_experts_per_tok": experts.PER_TOKEN,
    "moe_intermediate_size": experts.WIDTH,
    "moe_layer_freq": 1,
    "first_k_dense_replace": min(experts.LAYERS),
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.0,
    "scoring_func": "softmax",
    "topk_method": "greedy",
    "n_group": 1,
    "topk_group": 1,
    "attention_bias": False,
    # As the published checkpoints have it. Engines use another implementation of RoPE without it.
    "rope_scaling": {
        "type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 2048,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
    },
}
_FP8 = {
    "quantization_config": {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [safetensors.BLOCK, safetensors.BLOCK],
        "modules_to_not_convert": [
            "lm_head",
            *(f"model.layers.{index}.mlp.gate" for index in qwen3.WITH_EXPERTS),
            *(
                f"model.layers.{index}.mlp.{name}_proj"
                for index in range(weights.LAYERS)
                if index not in qwen3.WITH_EXPERTS
                for name in ("gate", "up", "down")
            ),
        ],
    }
}


def _in_fp8(name: str) -> bool:
    return "_proj" in name and (".self_attn." in name or ".experts." in name)


def _gemma4(name: str) -> Architecture:
    shape = gemma4_models.SHAPES[name]
    return Architecture(
        "Gemma4ForConditionalGeneration",
        "gemma4",
        lambda answers, blind: gemma4.text(shape, answers, blind) | vision.GEMMA4.tensors,
        len(shape.kinds) - shape.shared,
        gemma4_models.text(name),
        own_cache=True,
        beside=vision.GEMMA4,
        twins=name not in gemma4_models.ASSISTED,
    )


ARCHITECTURES: dict[str, Architecture] = {
    "qwen3": Architecture("Qwen3ForCausalLM", "qwen3", qwen3.dense, weights.LAYERS, _QWEN3),
    "qwen3_moe": Architecture("Qwen3MoeForCausalLM", "qwen3_moe", qwen3.moe, weights.LAYERS, _QWEN3_MOE),
    "qwen3_moe_throughout": Architecture(
        "Qwen3MoeForCausalLM", "qwen3_moe", qwen3.moe_throughout, weights.LAYERS, _QWEN3_MOE_THROUGHOUT
    ),
    "qwen3_moe_fp8": Architecture(
        "Qwen3MoeForCausalLM", "qwen3_moe", qwen3.moe_in_fp8, weights.LAYERS, _QWEN3_MOE | _FP8, fp8=_in_fp8
    ),
    "deepseek_v2": Architecture(
        "DeepseekV2ForCausalLM", "deepseek_v2", deepseek.moe, deepseek.LAYERS, _DEEPSEEK_V2, own_cache=True
    ),
    "gpt_oss": Architecture(
        "GptOssForCausalLM",
        "gpt_oss",
        gpt_oss.moe,
        weights.LAYERS,
        gpt_oss.CONFIG,
        mxfp4=gpt_oss.in_mxfp4,
        twins=False,
    ),
    "gemma3": Architecture(
        "Gemma3ForConditionalGeneration",
        "gemma3",
        lambda answers, blind: gemma3.text(answers, blind) | vision.GEMMA3.tensors,
        len(gemma3.SHAPE.kinds),
        gemma3.CONFIG,
        beside=vision.GEMMA3,
    ),
    **{name: _gemma4(name) for name in gemma4_models.SHAPES},
    "qwen3_5": Architecture(
        "Qwen3_5ForConditionalGeneration",
        "qwen3_5_text",
        gated_delta.qwen3_5,
        gated_delta.LAYERS,
        gated_delta.CONFIG,
        beside=vision.QWEN3_5,
        drafts=True,
        own_cache=True,
    ),
    "qwen3_next": Architecture(
        "Qwen3NextForCausalLM",
        "qwen3_next",
        qwen3_next.moe,
        gated_delta.LAYERS,
        qwen3_next.CONFIG,
        drafts=True,
        own_cache=True,
    ),
    "granite_moe_hybrid": Architecture(
        "GraniteMoeHybridForCausalLM", "granitemoehybrid", mamba2.granite, mamba2.LAYERS, mamba2.CONFIG, own_cache=True
    ),
    "jamba": Architecture("JambaForCausalLM", "jamba", mamba.jamba, mamba.LAYERS, mamba.CONFIG, own_cache=True),
}
"""By the name that checkpoints have."""
