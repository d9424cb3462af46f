"""Gemma 4 and its MTP assistant in numpy, as their published definition has it: a second opinion on the checkpoints.

Written from transformers' ``modeling_gemma4.py`` and ``modeling_gemma4_assistant.py``. Weights are read from the files
of a checkpoint, in bf16; sums are in float64.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def tensors(files: Mapping[str, bytes]) -> dict[str, Array]:
    """The tensors of a checkpoint by name."""
    data = files["model.safetensors"]
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    found = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in about["data_offsets"])
        if about["dtype"] == "I64":
            values = np.frombuffer(data[begin:end], "<i8").astype(np.float64)
        else:
            bits = np.frombuffer(data[begin:end], "<u2").astype(np.uint32) << 16
            values = bits.view(np.float32).astype(np.float64)
        found[name] = values.reshape(about["shape"])
    return found


def norm(x: Array, weight: Array | float = 1.0) -> Array:
    return np.asarray(x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * weight)


def gelu(x: Array) -> Array:
    return np.asarray(x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def softmax(x: Array) -> Array:
    shares = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


@dataclass
class Cache:
    """Keys and values of one layer, (tokens, heads, size)."""

    keys: Array
    values: Array


class Text:
    """The decoder layers of one checkpoint."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Array], prefix: str) -> None:
        self.config, self.weights, self.prefix = config, weights, prefix
        self.kinds: list[str] = config["layer_types"]
        self.lost: dict[int, tuple[slice, int]] = {}  # by layer: tokens, and whether of keys (0) or values (1)
        self.owners = len(self.kinds) - config["num_kv_shared_layers"]

    def of(self, name: str) -> Array:
        return self.weights[self.prefix + name]

    def has(self, name: str) -> bool:
        return self.prefix + name in self.weights

    def turned(self, x: Array, positions: Array, kind: str) -> Array:
        """``x`` (tokens, heads, size) under RoPE, which turns dimensions half a head apart."""
        size, rope = x.shape[-1], self.config["rope_parameters"][kind]
        frequencies = rope["rope_theta"] ** (-np.arange(0, size, 2) / size)
        frequencies[int(rope.get("partial_rotary_factor", 1.0) * size / 2) :] = 0
        angles = positions[:, None, None] * frequencies
        first, second = x[..., : size // 2], x[..., size // 2 :]
        turned = (first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles))
        return np.concatenate(turned, axis=-1)

    def attention(
        self, layer: int, x: Array, positions: Array, cache: dict[str, Cache], *, frozen: bool, windowed: bool
    ) -> Array:
        name, kind = f"layers.{layer}.self_attn.", self.kinds[layer]
        size = self.config["head_dim" if kind == "sliding_attention" else "global_head_dim"]
        query = norm((x @ self.of(name + "q_proj.weight").T).reshape(len(x), -1, size), self.of(name + "q_norm.weight"))
        query = self.turned(query, positions, kind)
        if layer < self.owners:  # any other reads the cache of the last one of its kind
            raw = (x @ self.of(name + "k_proj.weight").T).reshape(len(x), -1, size)
            value = raw
            if self.has(name + "v_proj.weight"):
                value = (x @ self.of(name + "v_proj.weight").T).reshape(len(x), -1, size)
            key = self.turned(norm(raw, self.of(name + "k_norm.weight")), positions, kind)
            cache[kind] = Cache(key, norm(value))
            if layer in self.lost:
                at, which = self.lost[layer]
                (cache[kind].keys, cache[kind].values)[which][at] = 0
        own = cache[kind]
        repeat = query.shape[1] // own.keys.shape[1]
        scores = np.einsum("qhd,khd->hqk", query, np.repeat(own.keys, repeat, axis=1))
        distance = positions[:, None] - np.arange(len(own.keys))[None]
        hidden = np.zeros_like(distance, bool) if frozen else distance < 0
        if kind == "sliding_attention" and windowed:
            hidden = hidden | (distance >= self.config["sliding_window"])
        shares = softmax(np.where(hidden[None], -np.inf, scores))
        mixed = np.einsum("hqk,khd->qhd", shares, np.repeat(own.values, repeat, axis=1))
        return np.asarray(mixed.reshape(len(x), -1) @ self.of(name + "o_proj.weight").T)

    def experts(self, name: str, x: Array) -> Array:
        router = norm(x) * self.of(name + "router.scale") * x.shape[-1] ** -0.5 @ self.of(name + "router.proj.weight").T
        y, mixed = norm(x, self.of(name + "pre_feedforward_layernorm_2.weight")), np.zeros_like(x)
        for row, logits in enumerate(router):
            chosen = np.argsort(-logits, kind="stable")[: self.config["top_k_experts"]]
            for share, expert in zip(softmax(logits[chosen]), chosen, strict=True):
                gate, up = np.split(self.of(name + "experts.gate_up_proj")[expert] @ y[row], 2)
                scale = self.of(name + "router.per_expert_scale")[expert]
                mixed[row] += share * scale * (self.of(name + "experts.down_proj")[expert] @ (gelu(gate) * up))
        return norm(mixed, self.of(name + "post_feedforward_layernorm_2.weight"))

    def forward(
        self,
        x: Array,
        positions: Array,
        cache: dict[str, Cache],
        per_layer: Array | None = None,
        *,
        frozen: bool = False,
        windowed: bool = True,
    ) -> Array:
        """Hidden states after the last norm."""
        for layer in range(len(self.kinds)):
            name = f"layers.{layer}."
            y = norm(x, self.of(name + "input_layernorm.weight"))
            y = self.attention(layer, y, positions, cache, frozen=frozen, windowed=windowed)
            x = x + norm(y, self.of(name + "post_attention_layernorm.weight"))
            y = norm(x, self.of(name + "pre_feedforward_layernorm.weight"))
            gate, up = (y @ self.of(f"{name}mlp.{which}_proj.weight").T for which in ("gate", "up"))
            y = gelu(gate) * up @ self.of(name + "mlp.down_proj.weight").T
            if self.has(name + "router.scale"):
                y = norm(y, self.of(name + "post_feedforward_layernorm_1.weight")) + self.experts(name, x)
            x = x + norm(y, self.of(name + "post_feedforward_layernorm.weight"))
            if per_layer is not None:
                y = gelu(x @ self.of(name + "per_layer_input_gate.weight").T) * per_layer[:, layer]
                y = y @ self.of(name + "per_layer_projection.weight").T
                x = x + norm(y, self.of(name + "post_per_layer_input_norm.weight"))
            x = x * self.of(name + "layer_scalar")
        return norm(x, self.of("norm.weight"))


class Target:
    """A target: what it says after each token of a text."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.config = json.loads(files["config.json"])["text_config"]
        self.text = Text(self.config, tensors(files), "model.language_model.")
        self.embedding = self.text.of("embed_tokens.weight")

    def embedded(self, ids: Sequence[int]) -> Array:
        return np.asarray(self.embedding[list(ids)] * self.config["hidden_size"] ** 0.5)

    def forward(self, ids: Sequence[int], *, windowed: bool = True) -> tuple[Array, Array, dict[str, Cache]]:
        """Logits, hidden states, and the KV cache that assistants share."""
        x, width = self.embedded(ids), self.config["hidden_size_per_layer_input"]
        per_layer = None
        if width:
            embedded = self.text.of("embed_tokens_per_layer.weight")[list(ids)] * width**0.5
            projected = x @ self.text.of("per_layer_model_projection.weight").T * x.shape[-1] ** -0.5
            shape = (len(x), len(self.text.kinds), width)
            projected = norm(projected.reshape(shape), self.text.of("per_layer_projection_norm.weight"))
            per_layer = (projected + embedded.reshape(shape)) / np.sqrt(2)
        cache: dict[str, Cache] = {}
        hidden = self.text.forward(x, np.arange(len(x), dtype=np.float64), cache, per_layer, windowed=windowed)
        cap = self.config["final_logit_softcapping"]
        return cap * np.tanh(hidden @ self.embedding.T / cap), hidden, cache


class Assistant:
    """An assistant: what it drafts from a target's hidden state and KV cache."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.config = json.loads(files["config.json"])
        self.weights = tensors(files)
        self.text = Text(self.config["text_config"], self.weights, "model.")

    def step(self, embedded: Array, state: Array, position: int, cache: dict[str, Cache]) -> tuple[Array, Array]:
        """Logits of one draft, and the recurrent state of the next."""
        x = np.concatenate([embedded, state])[None] @ self.weights["pre_projection.weight"].T
        hidden = self.text.forward(x, np.array([position], np.float64), cache, frozen=True)[0]
        logits = self.weights["model.embed_tokens.weight"] @ hidden
        if self.config["use_ordered_embeddings"]:
            clusters = self.weights["masked_embedding.token_ordering"].astype(int)
            clusters = clusters.reshape(self.config["num_centroids"], -1)
            near = self.weights["masked_embedding.centroids.weight"] @ hidden
            chosen = clusters[np.argsort(-near, kind="stable")[: self.config["centroid_intermediate_top_k"]]]
            kept = np.full_like(logits, -np.inf)
            kept[chosen.ravel()] = logits[chosen.ravel()]
            logits = kept
        return logits, self.weights["post_projection.weight"] @ hidden
