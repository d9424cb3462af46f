"""A Llama checkpoint made of a GGUF file: configuration, weights in bf16, tokenizer and chat template.

The bytes depend on the file and on nothing else: dequantising is multiplication and addition of float32, element by
element, and what is written is rendered here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from harness.published import byte_level_tokenizer
from known_answer import safetensors

Tensor = npt.NDArray[np.float32]

_WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_OF_A_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.weight")


class Unconvertible(Exception):
    """A GGUF file that is no plain Llama model with a byte-level tokenizer; the message is one line."""


def files(path: Path, layers: int | None = None) -> dict[str, bytes]:
    """The files of a checkpoint by name.

    Args:
        path: The GGUF file.
        layers: How many layers to keep, from the first one on, under the model's own norm and head; None for all.

    Raises:
        Unconvertible: It holds something else, or something that a plain Llama model does not have.
    """
    reader = gguf.GGUFReader(path)
    about = {name: field.contents() for name, field in reader.fields.items()}
    architecture = about.get("general.architecture")
    if architecture != "llama":
        raise Unconvertible(f"{path.name}: architecture {architecture!r}; only llama is known here")
    kept = _number(about, "llama.block_count") if layers is None else layers
    tensors = dict(_tensors(reader, about, kept))
    try:
        tokenizer = byte_level_tokenizer.files(about)
    except byte_level_tokenizer.UnknownTokenizer as error:
        raise Unconvertible(f"{path.name}: {error}") from error
    config = _config(about, kept, tied="lm_head.weight" not in tensors)
    return {"config.json": rendered(config), "model.safetensors": safetensors.render(tensors), **tokenizer}


def rendered(content: Mapping[str, Any]) -> bytes:
    """JSON, the same bytes for the same content."""
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _number(about: Mapping[str, Any], key: str) -> Any:
    if key not in about:
        raise Unconvertible(f"{key}: missing in the GGUF file")
    return about[key]


def _exact(about: Mapping[str, Any], key: str) -> float:
    """A float32 as the shortest number that means it: 1e-05 and not 9.999999747378752e-06."""
    return float(str(np.float32(_number(about, key))))


def _config(about: Mapping[str, Any], layers: int, *, tied: bool) -> dict[str, Any]:
    heads = _number(about, "llama.attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": _number(about, "llama.embedding_length"),
        "intermediate_size": _number(about, "llama.feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": about.get("llama.attention.head_count_kv", heads),
        "head_dim": _number(about, "llama.rope.dimension_count"),
        "vocab_size": len(_number(about, "tokenizer.ggml.tokens")),
        "max_position_embeddings": _number(about, "llama.context_length"),
        "rms_norm_eps": _exact(about, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": _exact(about, "llama.rope.freq_base"),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "bos_token_id": _number(about, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _number(about, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": about.get("tokenizer.ggml.padding_token_id"),
        "torch_dtype": "bfloat16",
    }


def _tensors(reader: gguf.GGUFReader, about: Mapping[str, Any], layers: int) -> Iterator[tuple[str, Tensor]]:
    """Weights by the names that engines know, (out, in), dequantised; of the layers kept."""
    heads = _number(about, "llama.attention.head_count")
    turned = {"attn_q": heads, "attn_k": about.get("llama.attention.head_count_kv", heads)}
    seen: set[int] = set()
    for each in reader.tensors:
        inside = _LAYER.fullmatch(each.name)
        if each.name not in _WHOLE and (inside is None or inside[2] not in _OF_A_LAYER):
            raise Unconvertible(f"tensor {each.name}: a plain Llama model has none")
        if inside is not None and int(inside[1]) >= layers:
            continue
        values = np.asarray(gguf.dequantize(each.data, each.tensor_type), np.float32)
        if inside is None:
            yield _WHOLE[each.name], values
            continue
        seen.add(int(inside[1]))
        if inside[2] in turned:
            values = _halves(values, turned[inside[2]])
        yield f"model.layers.{inside[1]}.{_OF_A_LAYER[inside[2]]}.weight", values
    if seen != set(range(layers)):
        raise Unconvertible(f"{layers} layers are wanted, the file has {len(seen)} of them")


def _halves(weight: Tensor, heads: int) -> Tensor:
    """Rows of a query or key projection in the order of rotate-half, from that of neighbouring pairs.

    Source: llama.cpp's ``convert_hf_to_gguf.py`` (``LlamaModel.permute``) reshapes the rows of each head to
    (2, half) and swaps the two; this swaps them back.
    """
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
