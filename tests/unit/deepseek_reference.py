"""Multi-head latent attention as DeepSeek V2's paper and transformers describe it, in bf16 as engines round."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from known_answer import deepseek, experts
from known_answer.weights import Array
from tests.unit.llama_reference import Llama, bf16, normed

_MSCALE = 0.1 * np.log(4.0) + 1  # of YaRN with a factor of 4; scores are multiplied by its square


def _frequencies() -> npt.NDArray[np.float64]:
    """Radians a token of each pair, by YaRN: fast pairs as they are, slow ones divided by 4, a ramp between them."""
    size = deepseek.ROPE

    def pair_of(rotations: float) -> float:
        return float(size * np.log(2048 / (rotations * 2 * np.pi)) / (2 * np.log(1e4)))

    low, high = np.floor(pair_of(32)), np.ceil(pair_of(1))
    ramp = ((np.arange(size // 2) - low) / (high - low)).clip(0, 1)
    plain = 1e4 ** (-2 * np.arange(size // 2) / size)
    return np.asarray(plain * (1 - ramp) + plain / 4 * ramp)


def turned(x: Array, positions: npt.NDArray[np.int64]) -> Array:
    """RoPE on (tokens, heads, 64), pairs that are neighbours."""
    angle = positions[:, None, None] * _frequencies()
    first, second, cos, sin = x[..., ::2], x[..., 1::2], np.cos(angle), np.sin(angle)
    return bf16(np.stack([first * cos - second * sin, second * cos + first * sin], -1).reshape(x.shape))


class DeepSeek(Llama):
    """Its cache has of each layer latent vectors (tokens, 512) and rotary keys (tokens, 64)."""

    @property
    def layers(self) -> int:
        return deepseek.LAYERS

    def attend(self, layer: int, x: Array, before: tuple[Array, Array] | None) -> tuple[Array, tuple[Array, Array]]:
        prefix = f"model.layers.{layer}.self_attn."
        past = len(before[0]) if before else 0
        positions = past + np.arange(len(x))
        query = self.of(f"{prefix}q", x).reshape(len(x), deepseek.HEADS, -1)
        compressed = bf16(x @ self.tensors[f"{prefix}kv_a_proj_with_mqa.weight"].T)
        latent, rotary = normed(compressed[:, : deepseek.LATENT]), compressed[:, None, deepseek.LATENT :]
        rotary = turned(rotary, positions)[:, 0]
        if before:
            latent, rotary = np.concatenate([before[0], latent]), np.concatenate([before[1], rotary])
        expanded = self.of(f"{prefix}kv_b", latent).reshape(len(latent), deepseek.HEADS, -1)
        key, value = np.split(expanded, [deepseek.NOPE], axis=-1)
        scores = np.einsum("qhd,khd->hqk", query[..., : deepseek.NOPE], key)
        scores += np.einsum("qhd,kd->hqk", turned(query[..., deepseek.NOPE :], positions), rotary)
        scores = scores * np.float32(_MSCALE**2 / np.sqrt(deepseek.NOPE + deepseek.ROPE))
        scores = np.where(np.arange(len(latent)) <= positions[:, None], scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares = bf16(shares / shares.sum(-1, keepdims=True))
        seen = bf16(np.einsum("hqk,khd->qhd", shares, value)).reshape(len(x), -1)
        return self.of(f"{prefix}o", seen), (latent, rotary)

    def mlp(self, layer: int, x: Array) -> Array:
        prefix = f"model.layers.{layer}.mlp."
        if f"{prefix}gate.weight" not in self.tensors:
            return self.gated(prefix, x)
        scores = x @ self.tensors[f"{prefix}gate.weight"].T
        chosen = np.argsort(-scores, axis=-1, kind="stable")[:, : experts.PER_TOKEN]
        shares = np.exp(np.take_along_axis(scores, chosen, -1) - scores.max(-1, keepdims=True))
        shares = shares / shares.sum(-1, keepdims=True)
        found = self.gated(f"{prefix}shared_experts.", x)
        for row, (numbers, weights) in enumerate(zip(chosen, shares, strict=True)):
            for number, share in zip(numbers, weights, strict=True):
                found[row] += share * self.gated(f"{prefix}experts.{number}.", x[row : row + 1])[0]
        return bf16(found)
