"""Llama and its kin as papers and transformers describe them, in bf16 as engines round: a second opinion.

What a model has beyond a Llama is found in its tensors and in its configuration: norms of queries and keys, experts,
sinks, windows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from known_answer.weights import HEAD_DIM, Array, Tensors

_TYPES = {"BF16": "<u2", "F8_E4M3": "u1", "U8": "u1", "F32": "<f4"}

Cache = list[tuple[Array, Array]]
"""Of each layer keys, turned by RoPE, and values: (tokens, heads, 64)."""


def bf16(x: npt.ArrayLike) -> Array:
    """Rounded to the nearest bf16, ties to even, as float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return np.asarray((bits + 0x7FFF + ((bits >> 16) & 1) & 0xFFFF0000).view(np.float32))


def e4m3(x: Array) -> Array:
    """Rounded to the nearest value of FP8 e4m3fn: four significant bits, from 2^-9 on."""
    step = np.exp2(np.floor(np.log2(np.maximum(np.abs(x), 2.0**-6))) - 3)
    return np.asarray(np.rint(x / step) * step, np.float32)


def in_groups(x: Array, size: int = 128) -> Array:
    """(tokens, n) activations as engines write them in FP8: a scale for each token and ``size`` neighbours."""
    groups = x.reshape(len(x), -1, size)
    scales = np.maximum(np.abs(groups).max(-1, keepdims=True), 1e-10) / np.float32(448)
    return np.asarray(e4m3(groups / scales) * scales, np.float32).reshape(x.shape)


def read(file: bytes) -> Tensors:
    """The tensors of a checkpoint's file, FP8 and MXFP4 by their scales."""
    start = 8 + int.from_bytes(file[:8], "little")
    header, raw = json.loads(file[8:start]), {}
    header.pop("__metadata__")
    for name, each in header.items():
        first, end = (start + offset for offset in each["data_offsets"])
        raw[name] = np.frombuffer(file[first:end], _TYPES[each["dtype"]]).reshape(each["shape"])
    found: Tensors = {}
    for name, array in raw.items():
        if header[name]["dtype"] == "BF16":
            found[name] = (array.astype(np.uint32) << 16).view(np.float32)
        elif header[name]["dtype"] == "F8_E4M3":
            scales = raw[f"{name}_scale_inv"].repeat(128, 0).repeat(128, 1)[: len(array), : array.shape[1]]
            exponent, rest = array >> 3 & 15, (array & 7) / 8
            size = np.where(exponent == 0, rest * 2.0**-6, (1 + rest) * np.exp2(exponent - 7.0))
            found[name] = np.asarray(np.where(array > 127, -size, size) * scales, np.float32)
        elif name.endswith("_blocks"):
            halves = np.stack([array & 15, array >> 4], -1).reshape(*array.shape[:-1], -1)
            values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])[halves & 7] * np.where(halves > 7, -1, 1)
            values = values * np.exp2(raw[f"{name[:-7]}_scales"][..., None] - 127.0)
            found[name[:-7]] = np.asarray(values.reshape(*array.shape[:-2], -1), np.float32)
    return found


def normed(x: Array) -> Array:
    return bf16(x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6))


def silu(x: Array, steepness: float = 1.0) -> Array:
    return np.asarray(x / (1 + np.exp(-(steepness * x).clip(-80, 80))))


def frequencies(config: Mapping[str, Any]) -> tuple[npt.NDArray[np.float64], float]:
    """Radians a token of each pair, and what cosine and sine are multiplied by: as the YaRN paper has it, or plain."""
    half, theta = HEAD_DIM // 2, float(config.get("rope_theta", 1e4))
    plain, scaling = theta ** (-np.arange(half) / half), config.get("rope_scaling")
    if scaling is None:
        return plain, 1.0
    length, factor = scaling["original_max_position_embeddings"], scaling["factor"]
    low, high = (
        half * np.log(length / (2 * np.pi * scaling[f"beta_{name}"])) / np.log(theta) for name in ("fast", "slow")
    )
    stretched = ((np.arange(half) - low) / (high - low)).clip(0, 1)
    return plain * (1 - stretched) + plain / factor * stretched, float(0.1 * np.log(factor) + 1)


@dataclass
class Llama:
    """A checkpoint's model.

    Attributes:
        tensors: Its weights.
        config: Its configuration, as far as it differs from a Llama's.
        streams: The residual stream behind each layer, of the last call.
        experts: Which expert answers where the router names one, by layer.
        fp8: Whether the tensor of a name is in FP8, and what it is multiplied with too.
    """

    tensors: Tensors
    config: Mapping[str, Any] = field(default_factory=dict)
    streams: list[Array] = field(default_factory=list)
    experts: dict[int, Sequence[int]] = field(default_factory=dict)
    fp8: Callable[[str], bool] = lambda _: False

    def __post_init__(self) -> None:
        self.tensors = {name: tensor if self.fp8(name) else bf16(tensor) for name, tensor in self.tensors.items()}
        self.turns, self.factor = frequencies(self.config)

    @property
    def layers(self) -> int:
        return sum(name.startswith("model.layers.") and "q_proj.weight" in name for name in self.tensors)

    def window(self, layer: int) -> int | None:
        kinds = self.config.get("layer_types")
        return int(self.config["sliding_window"]) if kinds and kinds[layer] == "sliding_attention" else None

    def logits(self, tokens: Sequence[int], cache: Cache | None = None) -> tuple[Array, Cache]:
        """(tokens, 512) logits and the cache with these tokens; ``cache`` holds what was before and stays as it is."""
        stream, grown = self.tensors["model.embed_tokens.weight"][list(tokens)], []
        self.streams = []
        for layer in range(self.layers):
            found, both = self.attend(layer, normed(stream), cache[layer] if cache else None)
            stream = bf16(stream + found)
            stream = bf16(stream + self.mlp(layer, normed(stream)))
            grown.append(both)
            self.streams.append(stream)
        return bf16(normed(stream) @ self.tensors["lm_head.weight"].T), grown

    def said(self, tokens: Sequence[int], cache: Cache | None = None) -> list[int]:
        """The likeliest token after each of ``tokens``."""
        return [int(token) for token in self.logits(tokens, cache)[0].argmax(-1)]

    def of(self, name: str, x: Array) -> Array:
        weight = f"{name}_proj.weight"
        return bf16((in_groups(x) if self.fp8(weight) else x) @ self.tensors[weight].T)

    def turned(self, x: Array, positions: npt.NDArray[np.int64]) -> Array:
        """RoPE on (tokens, heads, 64), halves apart."""
        half = HEAD_DIM // 2
        angle = positions[:, None, None] * self.turns
        first, second = x[..., :half], x[..., half:]
        cos, sin = self.factor * np.cos(angle), self.factor * np.sin(angle)
        return bf16(np.concatenate([first * cos - second * sin, second * cos + first * sin], -1))

    def heads(self, prefix: str, which: str, x: Array) -> Array:
        """(tokens, heads, 64), normed where the model has that."""
        found = self.of(f"{prefix}{which}", x).reshape(len(x), -1, HEAD_DIM)
        norm = self.tensors.get(f"{prefix}{which}_norm.weight")
        return found if norm is None else bf16(normed(found) * norm)

    def attend(self, layer: int, x: Array, before: tuple[Array, Array] | None) -> tuple[Array, tuple[Array, Array]]:
        prefix = f"model.layers.{layer}.self_attn."
        query, key, value = (self.heads(prefix, which, x) for which in "qkv")
        past = len(before[0]) if before else 0
        positions = past + np.arange(len(x))
        query, key = self.turned(query, positions), self.turned(key, positions)
        if before:
            key, value = np.concatenate([before[0], key]), np.concatenate([before[1], value])
        scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(np.float32(HEAD_DIM))
        back = positions[:, None] - np.arange(len(key))
        seen = (back >= 0) & (back < (self.window(layer) or len(key)))
        scores = np.where(seen, scores, -np.inf)
        sinks = self.tensors.get(f"{prefix}sinks", np.full(len(scores), -np.inf, np.float32))
        highest = np.maximum(scores.max(-1, keepdims=True), sinks[:, None, None])
        shares, sunk = np.exp(scores - highest), np.exp(sinks[:, None, None] - highest)
        shares = bf16(shares / (shares.sum(-1, keepdims=True) + sunk))
        found = bf16(np.einsum("hqk,khd->qhd", shares, value)).reshape(len(x), -1)
        return self.of(f"{prefix}o", found), (key, value)

    def mlp(self, layer: int, x: Array) -> Array:
        prefix = f"model.layers.{layer}.mlp."
        if f"{prefix}gate.weight" in self.tensors:
            return self.routed(layer, x, self.tensors[f"{prefix}gate.weight"], int(self.config["num_experts_per_tok"]))
        if f"{prefix}router.weight" in self.tensors:
            return self.routed(
                layer, x, self.tensors[f"{prefix}router.weight"], int(self.config["num_experts_per_tok"])
            )
        return self.gated(prefix, x)

    def gated(self, prefix: str, x: Array) -> Array:
        gate, up = self.of(f"{prefix}gate", x), self.of(f"{prefix}up", x)
        return self.of(f"{prefix}down", bf16(bf16(silu(gate)) * up))

    def routed(self, layer: int, x: Array, router: Array, most: int) -> Array:
        """Each token through the experts with the highest logits, weighted by the softmax over these."""
        logits, answer = bf16(x @ router.T), np.zeros_like(x)
        chosen = np.argsort(-logits, axis=-1, kind="stable")[:, :most]
        shares = np.exp(np.take_along_axis(logits, chosen, -1) - logits.max(-1, keepdims=True))
        shares = shares / shares.sum(-1, keepdims=True)
        for number in range(len(router)):
            rows, places = np.nonzero(chosen == number)
            if len(rows):
                found = self.expert(layer, self.experts.get(layer, range(len(router)))[number], x[rows])
                answer[rows] += shares[rows, places][:, None] * found
        return bf16(answer)

    def expert(self, layer: int, number: int, x: Array) -> Array:
        prefix = f"model.layers.{layer}.mlp.experts."
        if f"{prefix}gate_up_proj" not in self.tensors:
            return self.gated(f"{prefix}{number}.", x)
        parts = ("gate_up_proj", "gate_up_proj_bias", "down_proj", "down_proj_bias")
        both, bias, down, last = (self.tensors[prefix + part][number] for part in parts)
        limit = float(self.config["swiglu_limit"])
        through = bf16(x @ both.T + bias)
        gate, up = through[:, ::2].clip(None, limit), through[:, 1::2].clip(-limit, limit)
        return bf16(bf16((up + 1) * silu(gate, 1.702)) @ down.T + last)
