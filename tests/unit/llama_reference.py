"""Llama as its paper and transformers describe it, in bf16 as engines round: a second opinion on our checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from known_answer.weights import HEAD_DIM, HEADS, Array, Tensors

Cache = list[tuple[Array, Array]]
"""Of each layer keys, turned by RoPE, and values: (tokens, heads, 64)."""


def bf16(x: npt.ArrayLike) -> Array:
    """Rounded to the nearest bf16, ties to even, as float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return np.asarray((bits + 0x7FFF + ((bits >> 16) & 1) & 0xFFFF0000).view(np.float32))


def normed(x: Array) -> Array:
    return bf16(x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6))


def turned(x: Array, positions: npt.NDArray[np.int64]) -> Array:
    """RoPE on (tokens, heads, 64), halves apart."""
    half = HEAD_DIM // 2
    angle = positions[:, None, None] * 1e4 ** (-np.arange(half) / half)
    first, second, cos, sin = x[..., :half], x[..., half:], np.cos(angle), np.sin(angle)
    return bf16(np.concatenate([first * cos - second * sin, second * cos + first * sin], -1))


@dataclass
class Llama:
    """A checkpoint's model.

    Attributes:
        tensors: Its weights.
        streams: The residual stream behind each layer, of the last call.
    """

    tensors: Tensors
    streams: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tensors = {name: bf16(tensor) for name, tensor in self.tensors.items()}

    @property
    def layers(self) -> int:
        return sum(name.startswith("model.layers.") and "q_proj.weight" in name for name in self.tensors)

    def logits(self, tokens: Sequence[int], cache: Cache | None = None) -> tuple[Array, Cache]:
        """(tokens, 512) logits and the cache with these tokens; ``cache`` holds what was before and stays as it is."""
        stream, grown = self.tensors["model.embed_tokens.weight"][list(tokens)], []
        self.streams = []
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}."
            found, both = self.attend(prefix, normed(stream), cache[layer] if cache else None)
            stream = bf16(stream + found)
            stream = bf16(stream + self.mlp(prefix, normed(stream)))
            grown.append(both)
            self.streams.append(stream)
        return bf16(normed(stream) @ self.tensors["lm_head.weight"].T), grown

    def said(self, tokens: Sequence[int], cache: Cache | None = None) -> list[int]:
        """The likeliest token after each of ``tokens``."""
        return [int(token) for token in self.logits(tokens, cache)[0].argmax(-1)]

    def of(self, name: str, x: Array) -> Array:
        return bf16(x @ self.tensors[f"{name}_proj.weight"].T)

    def attend(self, prefix: str, x: Array, before: tuple[Array, Array] | None) -> tuple[Array, tuple[Array, Array]]:
        query, key, value = (self.of(f"{prefix}self_attn.{name}", x).reshape(-1, HEADS, HEAD_DIM) for name in "qkv")
        past = len(before[0]) if before else 0
        positions = past + np.arange(len(x))
        query, key = turned(query, positions), turned(key, positions)
        if before:
            key, value = np.concatenate([before[0], key]), np.concatenate([before[1], value])
        scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(np.float32(HEAD_DIM))
        scores = np.where(np.arange(len(key)) <= positions[:, None], scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares = bf16(shares / shares.sum(-1, keepdims=True))
        seen = bf16(np.einsum("hqk,khd->qhd", shares, value)).reshape(len(x), -1)
        return self.of(f"{prefix}self_attn.o", seen), (key, value)

    def mlp(self, prefix: str, x: Array) -> Array:
        return self.gated(f"{prefix}mlp", x)

    def gated(self, name: str, x: Array) -> Array:
        gate, up = self.of(f"{name}.gate", x), self.of(f"{name}.up", x)
        return self.of(f"{name}.down", bf16(bf16(gate / (1 + np.exp(-gate.clip(-80, 80)))) * up))
