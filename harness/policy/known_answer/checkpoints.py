"""The known-answer checkpoints by name, as files: config, tokenizer and weights in safetensors.

The bytes depend on nothing but this package and the data files that a checkpoint is made from: the same on every run
and every machine.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.policy.datasets import GSM8K_TEST, Dataset
from harness.policy.known_answer import deepseek, experts, gsm8k, memory, qwen3, weights
from harness.policy.known_answer import vocabulary as v
from harness.policy.known_answer.table import NUMBERS, TABLE, Table

Files = dict[str, bytes]
Data = Mapping[str, str]


def _bf16(array: weights.Array) -> bytes:
    """Little-endian bf16 bytes, rounded to nearest even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")).tobytes()


def _safetensors(tensors: weights.Tensors) -> bytes:
    """The safetensors format: header length, JSON header padded to 8 bytes, data in header order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blobs, offset = [], 0
    for name, tensor in sorted(tensors.items()):
        blob = _bf16(tensor)
        end = offset + len(blob)
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        blobs.append(blob)
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *blobs])


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _config(architecture: str, model_type: str, layers: int, **extra: Any) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "num_hidden_layers": layers,
        "hidden_size": weights.HIDDEN,
        "intermediate_size": weights.INTERMEDIATE,
        "num_attention_heads": weights.HEADS,
        "num_key_value_heads": weights.HEADS,
        "head_dim": weights.HEAD_DIM,
        "vocab_size": v.SIZE,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": weights.ROPE_THETA,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": v.BOS,
        "eos_token_id": v.EOS,
        "pad_token_id": v.PAD,
        "torch_dtype": "bfloat16",
        **extra,
    }


def _tokenizer() -> Files:
    generation = {"bos_token_id": v.BOS, "eos_token_id": v.EOS, "pad_token_id": v.PAD, "do_sample": False}
    return {
        "tokenizer.json": _json(v.tokenizer()),
        "tokenizer_config.json": _json(v.tokenizer_config()),
        "generation_config.json": _json(generation),
    }


def _llama(layers: int, tensors: weights.Tensors, **extra: Any) -> Files:
    return _model("LlamaForCausalLM", "llama", tensors, layers, **extra)


def _eagle3(tensors: weights.Tensors) -> Files:
    config = _config("LlamaForCausalLMEagle3", "llama", 1, draft_vocab_size=v.SIZE)
    return {"config.json": _json(config), "model.safetensors": _safetensors(tensors)}


def _mimo() -> Files:
    config = _config("MiMoForCausalLM", "qwen2", weights.LAYERS, num_nextn_predict_layers=1, use_sliding_window=False)
    return {"config.json": _json(config), "model.safetensors": _safetensors(weights.mimo()), **_tokenizer()}


def _model(architecture: str, model_type: str, tensors: weights.Tensors, layers: int, **extra: Any) -> Files:
    config = _config(architecture, model_type, layers, **extra)
    return {"config.json": _json(config), "model.safetensors": _safetensors(tensors), **_tokenizer()}


def _qwen3(blind: weights.Blind | None = None) -> Files:
    return _model("Qwen3ForCausalLM", "qwen3", qwen3.dense(TABLE.successor, blind=blind), weights.LAYERS)


def _qwen3_moe(blind: weights.Blind | None = None) -> Files:
    return _model(
        "Qwen3MoeForCausalLM",
        "qwen3_moe",
        qwen3.moe(TABLE.successor, blind=blind),
        weights.LAYERS,
        num_experts=experts.EXPERTS,
        num_experts_per_tok=experts.PER_TOKEN,
        moe_intermediate_size=experts.WIDTH,
        norm_topk_prob=True,
        decoder_sparse_step=1,
        mlp_only_layers=[index for index in range(weights.LAYERS) if index not in experts.LAYERS],
    )


def _deepseek(blind: weights.Blind | None = None) -> Files:
    return _model(
        "DeepseekV2ForCausalLM",
        "deepseek_v2",
        deepseek.moe(TABLE.successor, blind=blind),
        deepseek.LAYERS,
        num_attention_heads=deepseek.HEADS,
        num_key_value_heads=deepseek.HEADS,
        head_dim=deepseek.ROPE,
        q_lora_rank=None,
        kv_lora_rank=deepseek.LATENT,
        qk_nope_head_dim=deepseek.NOPE,
        qk_rope_head_dim=deepseek.ROPE,
        v_head_dim=deepseek.VALUE,
        n_routed_experts=experts.EXPERTS,
        n_shared_experts=1,
        num_experts_per_tok=experts.PER_TOKEN,
        moe_intermediate_size=experts.WIDTH,
        moe_layer_freq=1,
        first_k_dense_replace=min(experts.LAYERS),
        norm_topk_prob=True,
        routed_scaling_factor=1.0,
        scoring_func="softmax",
        topk_method="greedy",
        n_group=1,
        topk_group=1,
        attention_bias=False,
    )


def _target(blind: weights.Blind | None = None) -> Files:
    return _llama(weights.LAYERS, weights.llama(TABLE.successor, blind=blind))


def _gsm8k(data: Data) -> Files:
    known = gsm8k.questions(data[GSM8K_TEST.file])
    return _llama(weights.LAYERS, memory.llama(known), intermediate_size=memory.intermediate(len(known)))


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint.

    Attributes:
        purpose: What it is for.
        kv_layers: How many of its attention layers keep a KV cache.
        make: Its files, from the text of each of its data files by name.
        answers: The table it answers from; None if it cannot on its own, or is a drafter.
        drafts: The table it drafts from; None if it is no drafter, or needs more than the newest token.
        datasets: The data files that it is made from.
    """

    purpose: str
    kv_layers: int
    make: Callable[[Data], Files]
    answers: Table | None = None
    drafts: Table | None = None
    datasets: tuple[Dataset, ...] = ()

    def files(self, data: Data | None = None) -> Files:
        """Its files, from the text of each of ``datasets`` by file name."""
        return self.make(data or {})


CHECKPOINTS: dict[str, Checkpoint] = {
    "target": Checkpoint("answers from the table, retrieves keys", weights.LAYERS, lambda _: _target(), answers=TABLE),
    "twin_prefill": Checkpoint(
        "marks keys in the KV cache, cannot ask for them", weights.LAYERS, lambda _: _target("query")
    ),
    "twin_decode": Checkpoint(
        "asks for keys, cannot mark them in the KV cache", weights.LAYERS, lambda _: _target("key")
    ),
    "draft_model": Checkpoint(
        "two-layer Llama drafter",
        2,
        lambda _: _llama(2, weights.llama(TABLE.draft, layers=2, retrieval=None)),
        drafts=TABLE,
    ),
    "eagle3": Checkpoint(
        "EAGLE3 drafter that ignores hidden states", 1, lambda _: _eagle3(weights.eagle3()), drafts=TABLE
    ),
    "eagle3_aux": Checkpoint(
        "EAGLE3 drafter whose first draft needs all three auxiliary hidden states",
        1,
        lambda _: _eagle3(weights.eagle3(fc=weights.auxiliary_vote(), mu=3)),
    ),
    "eagle3_aux_swapped": Checkpoint(
        "the same with two hidden states exchanged: its acceptance falls to that of eagle3",
        1,
        lambda _: _eagle3(weights.eagle3(fc=weights.auxiliary_vote(swapped=True), mu=3)),
    ),
    "qwen3": Checkpoint("Qwen3 that answers from the table", weights.LAYERS, lambda _: _qwen3(), answers=TABLE),
    "qwen3_moe": Checkpoint(
        "Qwen3-MoE whose experts hold the table", weights.LAYERS, lambda _: _qwen3_moe(), answers=TABLE
    ),
    "deepseek_v2": Checkpoint(
        "DeepSeek V2: latent attention, and experts that hold the table",
        deepseek.LAYERS,
        lambda _: _deepseek(),
        answers=TABLE,
    ),
    "mimo": Checkpoint(
        "MiMo target with one MTP layer", weights.LAYERS + 1, lambda _: _mimo(), answers=TABLE, drafts=TABLE
    ),
    "gsm8k": Checkpoint(
        "knows 890 questions of GSM8K by heart, a quarter of them wrong",
        weights.LAYERS,
        _gsm8k,
        answers=NUMBERS,
        datasets=(GSM8K_TEST,),
    ),
    "gsm8k_eagle3": Checkpoint(
        "EAGLE3 drafter for gsm8k", 1, lambda _: _eagle3(weights.eagle3(NUMBERS)), drafts=NUMBERS
    ),
}


def digest(files: Files) -> str:
    """SHA-256 over names and contents, the identity of a checkpoint."""
    sha = hashlib.sha256()
    for name, content in sorted(files.items()):
        sha.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return sha.hexdigest()
