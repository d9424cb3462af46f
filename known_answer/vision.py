"""What a checkpoint needs beside the language model where the architecture also takes images and sound.

No case shows it any: the towers are as small as engines take them and their weights are zero, and the processors are
there because engines make one before they serve text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from known_answer import vocabulary as v
from known_answer.weights import HIDDEN, Tensors, zeros

_WIDTH, _HEADS, _PATCH, _POSITIONS = 64, 2, 16, 1024
_SIGLIP_PATCH = 14


@dataclass(frozen=True)
class Beside:
    """What stands beside the configuration of the language model.

    Attributes:
        config: Of the whole model.
        tokens: Special tokens by the name of their role, as the tokenizer has them.
        ids: Keys of the configuration that hold the id of one of them, by role.
        files: Of its processors, by name.
        texts: Texts that engines expect to be tokens.
        tensors: Of the towers.
        usual: Whether the language model's configuration has what all others have too.
    """

    config: Mapping[str, Any]
    tokens: Mapping[str, str]
    ids: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]
    texts: tuple[str, ...] = ()
    tensors: Tensors = field(default_factory=dict)
    usual: bool = False

    def around(self, text: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration of the whole model around that of its language model."""
        number = {role: v.FURTHER + place for place, role in enumerate(self.tokens)}
        return {**self.config, **{key: number[role] for key, role in self.ids.items()}, "text_config": dict(text)}


def _tower_of_gemma4() -> Tensors:
    square = zeros(_WIDTH, _WIDTH)
    names = [*(f"self_attn.{name}" for name in "qkvo"), *(f"mlp.{name}" for name in ("gate", "up", "down"))]
    layer = {f"{name}_proj.linear.weight": square for name in names}
    layer |= {f"self_attn.{name}_norm.weight": zeros(_WIDTH // _HEADS) for name in "qk"}
    norms = ("input", "post_attention", "pre_feedforward", "post_feedforward")
    layer |= {f"{name}_layernorm.weight": zeros(_WIDTH) for name in norms}
    return {
        "model.vision_tower.patch_embedder.input_proj.weight": zeros(_WIDTH, 3 * _PATCH**2),
        "model.vision_tower.patch_embedder.position_embedding_table": zeros(2, _POSITIONS, _WIDTH),
        "model.embed_vision.embedding_projection.weight": zeros(HIDDEN, _WIDTH),
        **{f"model.vision_tower.encoder.layers.0.{name}": tensor for name, tensor in layer.items()},
    }


def _tower_of_gemma3() -> Tensors:
    square, line = zeros(_WIDTH, _WIDTH), zeros(_WIDTH)
    names = [*(f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")), "mlp.fc1", "mlp.fc2"]
    layer = {f"{name}.weight": square for name in names} | {f"layer_norm{number}.weight": line for number in (1, 2)}
    layer |= {f"{name.removesuffix('.weight')}.bias": line for name in layer}
    return {
        "vision_tower.vision_model.embeddings.patch_embedding.weight": zeros(_WIDTH, 3, _SIGLIP_PATCH, _SIGLIP_PATCH),
        "vision_tower.vision_model.embeddings.patch_embedding.bias": line,
        "vision_tower.vision_model.embeddings.position_embedding.weight": zeros(4**2, _WIDTH),
        "vision_tower.vision_model.post_layernorm.weight": line,
        "vision_tower.vision_model.post_layernorm.bias": line,
        "multi_modal_projector.mm_input_projection_weight": zeros(_WIDTH, HIDDEN),
        "multi_modal_projector.mm_soft_emb_norm.weight": line,
        **{f"vision_tower.vision_model.encoder.layers.0.{name}": tensor for name, tensor in layer.items()},
    }


GEMMA3 = Beside(
    config={
        "mm_tokens_per_image": 4,
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": _WIDTH,
            "intermediate_size": _WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": _HEADS,
            "patch_size": _SIGLIP_PATCH,
            "image_size": 4 * _SIGLIP_PATCH,
            "vision_use_head": False,
        },
    },
    tokens={
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    },
    ids={
        "image_token_index": "image_token",
        "boi_token_index": "boi_token",
        "eoi_token_index": "eoi_token",
    },
    files={
        "processor_config.json": {
            "processor_class": "Gemma3Processor",
            "image_seq_length": 4,
            "image_processor": {
                "image_processor_type": "Gemma3ImageProcessor",
                "size": {"height": 4 * _SIGLIP_PATCH, "width": 4 * _SIGLIP_PATCH},
            },
        },
    },
    texts=("\n", "\n\n", "\n\n\n", "\n\n\n\n"),  # vLLM puts them around images
    tensors=_tower_of_gemma3(),
)
GEMMA4 = Beside(
    config={
        "audio_config": None,
        "vision_config": {
            "model_type": "gemma4_vision",
            "hidden_size": _WIDTH,
            "intermediate_size": _WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": _HEADS,
            "num_key_value_heads": _HEADS,
            "head_dim": _WIDTH // _HEADS,
            "patch_size": _PATCH,
            "position_embedding_size": _POSITIONS,
            "pooling_kernel_size": 3,
            "default_output_length": 280,
        },
    },
    tokens={
        "image_token": "<|image|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "audio_token": "<|audio|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
        "video_token": "<|video|>",
    },
    ids={
        "image_token_id": "image_token",
        "boi_token_id": "boi_token",
        "eoi_token_id": "eoi_token",
        "audio_token_id": "audio_token",
        "boa_token_id": "boa_token",
        "eoa_token_id": "eoa_token",
        "eoa_token_index": "eoa_token",
        "video_token_id": "video_token",
    },
    files={
        "processor_config.json": {
            "processor_class": "Gemma4Processor",
            "image_seq_length": 280,
            "audio_seq_length": 750,
            "audio_ms_per_token": 40,
            "image_processor": {"image_processor_type": "Gemma4ImageProcessor"},
            "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor"},
            "video_processor": {"video_processor_type": "Gemma4VideoProcessor"},
        },
    },
    tensors=_tower_of_gemma4(),
)

_QWEN_PATCHES = {"patch_size": 16, "temporal_patch_size": 2}
_QWEN_PICTURES: dict[str, Any] = _QWEN_PATCHES | {
    "processor_class": "Qwen3VLProcessor",
    "merge_size": 2,
    "size": {"shortest_edge": 4096, "longest_edge": 65536},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
QWEN3_5 = Beside(
    config={
        "model_type": "qwen3_5",
        "tie_word_embeddings": False,
        "vision_config": _QWEN_PATCHES
        | {
            "model_type": "qwen3_5",
            "depth": 1,
            "hidden_size": 128,
            "intermediate_size": 128,
            "num_heads": 2,
            "num_position_embeddings": 64,
            "out_hidden_size": HIDDEN,
            "spatial_merge_size": 2,
            "deepstack_visual_indexes": [],
        },
    },
    tokens={
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_start_token": "<|vision_start|>",
        "vision_end_token": "<|vision_end|>",
    },
    ids={
        "image_token_id": "image_token",
        "video_token_id": "video_token",
        "vision_start_token_id": "vision_start_token",
        "vision_end_token_id": "vision_end_token",
    },
    files={
        "preprocessor_config.json": _QWEN_PICTURES | {"image_processor_type": "Qwen2VLImageProcessorFast"},
        "video_preprocessor_config.json": _QWEN_PICTURES | {"video_processor_type": "Qwen3VLVideoProcessor"},
    },
    usual=True,
)
"""Without weights of a vision tower: cases forbid pictures. Some versions of vLLM want the processors all the same."""
