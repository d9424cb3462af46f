"""Models with recurrent layers, computed token by token as transformers describes them: a second opinion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from known_answer import gated_delta, mamba, mamba2, qwen3_next
from known_answer.table import TABLE
from known_answer.weights import HIDDEN, Blind, Tensors

Array = npt.NDArray[np.float64]

RECURRENT = 3
NAMES = ("gate", "up", "down")


@dataclass
class States:
    """Of one request: of each recurrent layer its state and the inputs of its convolution, and the KV cache."""

    matrices: list[Array] = field(default_factory=lambda: [np.zeros(())] * RECURRENT)
    inputs: list[Array] = field(default_factory=lambda: [np.zeros(())] * RECURRENT)
    keys: list[Array] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x.clip(-80, 80))))


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def normed(x: Array) -> Array:
    """RMSNorm without weights."""
    return np.asarray(x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6))


class Sparse:
    """A matrix of zeros but for a few, as most of these are: times a vector, without the zeros."""

    def __init__(self, matrix: Array) -> None:
        self.rows, self.columns = matrix.nonzero()
        self.values = matrix[self.rows, self.columns]
        self.height = len(matrix)

    def __matmul__(self, vector: Array) -> Array:
        return np.asarray(np.bincount(self.rows, self.values * vector[self.columns], self.height), np.float64)


def compact(tensor: Array) -> Any:
    sparse = tensor.ndim == 2 and np.count_nonzero(tensor) < tensor.size / 10
    return Sparse(tensor) if sparse else tensor


class Model:
    """One token at a time, after the description of the layers in transformers; without RoPE, which none needs."""

    prefix = "model."
    embedding = residual = 1.0
    attention_scale: float

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = {name: compact(tensor.astype(np.float64)) for name, tensor in tensors.items()}

    def logits(self, token: int, states: States) -> Array:
        stream = self.embedding * self.tensors[f"{self.prefix}embed_tokens.weight"][token]
        for layer in range(RECURRENT + 1):
            update = self.attention if layer == RECURRENT else self.recurrent
            stream = stream + self.residual * update(layer, normed(stream), states)
            stream = stream + self.residual * self.mlp(layer, normed(stream))
        return np.asarray(self.tensors["lm_head.weight"] @ normed(stream))

    def say(self, token: int, states: States) -> int:
        return int(self.logits(token, states).argmax())

    def of(self, layer: int, name: str) -> Any:
        return self.tensors[f"{self.prefix}layers.{layer}.{name}"]

    def convolved(self, layer: int, name: str, x: Array, states: States) -> Array:
        kernel = self.of(layer, f"{name}.conv1d.weight")[:, 0]
        before = np.broadcast_to(states.inputs[layer], (len(x), 3))
        window = np.concatenate([before, x[:, None]], axis=1)
        states.inputs[layer] = window[:, 1:]
        return silu((window * kernel).sum(axis=1))

    def recurrent(self, layer: int, x: Array, states: States) -> Array:
        raise NotImplementedError

    dense = "mlp."

    def mlp(self, layer: int, x: Array) -> Array:
        gate, up, down = (self.of(layer, f"{self.dense}{name}_proj.weight") for name in NAMES)
        return np.asarray(down @ (silu(gate @ x) * (up @ x)))

    def experts(self, router: Array, parts: Callable[[int], tuple[Array, Array, Array]], x: Array) -> Array:
        """What the best two experts say, of which ``parts`` gives gate, up and down."""
        scores = router @ x
        chosen = np.argsort(-scores, kind="stable")[:2]
        shares = np.exp(scores[chosen] - scores[chosen].max())
        found = np.zeros(HIDDEN)
        for number, share in zip(chosen, shares / shares.sum(), strict=True):
            gate, up, down = parts(int(number))
            found += share * (down @ (silu(gate @ x) * (up @ x)))
        return found

    def attention(self, layer: int, x: Array, states: States) -> Array:
        query, key, value = (self.of(layer, f"self_attn.{name}_proj.weight") @ x for name in "qkv")
        heads, width = 4, len(query) // 4
        found = self.attend(query.reshape(heads, width), key.reshape(-1, width), value.reshape(-1, width), states)
        return np.asarray(self.of(layer, "self_attn.o_proj.weight") @ found.ravel())

    def attend(self, query: Array, key: Array, value: Array, states: States) -> Array:
        states.keys.append(key)
        states.values.append(value)
        keys, values = (np.repeat(each, len(query) // len(key), axis=1) for each in (states.keys, states.values))
        scores = np.einsum("hd,thd->ht", query, keys) * self.attention_scale
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(np.einsum("ht,thd->hd", shares / shares.sum(axis=1, keepdims=True), values))


class Qwen35(Model):
    prefix = "model.language_model."
    attention_scale = gated_delta.HEAD_DIM**-0.5

    def __init__(self, blind: Blind | None = None) -> None:
        super().__init__(gated_delta.qwen3_5(TABLE.successor, blind))

    def recurrent(self, layer: int, x: Array, states: States) -> Array:
        heads, width = gated_delta.STATES, gated_delta.STATE_DIM

        def of(name: str) -> Any:
            return self.of(layer, f"linear_attn.{name}")

        mixed, gate, strength, step = self.projected(layer, x)
        mixed = self.convolved(layer, "linear_attn", mixed, states)
        query, key, value = mixed.reshape(3, heads, width)
        query, key = (each / np.sqrt((each**2).sum(-1, keepdims=True) + 1e-6) for each in (query, key))
        strength, step = sigmoid(strength)[:, None], np.logaddexp(0, step + of("dt_bias"))
        state = states.matrices[layer] * np.exp(-np.exp(of("A_log")) * step)[:, None, None]
        state = np.broadcast_to(state, (heads, width, width))
        change = strength * (value - np.einsum("hvk,hk->hv", state, key))
        state = states.matrices[layer] = state + np.einsum("hv,hk->hvk", change, key)
        read = np.einsum("hvk,hk->hv", state, query) / np.sqrt(width)
        gate = gate.reshape(heads, width)
        return np.asarray(of("out_proj.weight") @ (normed(read) * of("norm.weight") * silu(gate)).ravel())

    def projected(self, layer: int, x: Array) -> list[Array]:
        """What goes through the convolution, gate, strength and step."""
        return [self.of(layer, f"linear_attn.in_proj_{name}.weight") @ x for name in ("qkv", "z", "b", "a")]

    def attention(self, layer: int, x: Array, states: States) -> Array:
        def of(name: str) -> Any:
            return self.of(layer, f"self_attn.{name}.weight")

        width = gated_delta.HEAD_DIM
        query, gate = (of("q_proj") @ x).reshape(gated_delta.HEADS, 2, width).swapaxes(0, 1)
        query = normed(query) * (1 + of("q_norm"))
        key = normed((of("k_proj") @ x).reshape(-1, width)) * (1 + of("k_norm"))
        found = self.attend(query, key, (of("v_proj") @ x).reshape(-1, width), states)
        return np.asarray(of("o_proj") @ (found * sigmoid(gate)).ravel())


class Qwen3Next(Qwen35):
    prefix = "model."
    dense = "mlp.shared_expert."

    def __init__(self, blind: Blind | None = None) -> None:
        Model.__init__(self, qwen3_next.moe(TABLE.successor, blind))

    def projected(self, layer: int, x: Array) -> list[Array]:
        heads = gated_delta.STATES
        parts = (self.of(layer, "linear_attn.in_proj_qkvz.weight") @ x).reshape(heads, 4, -1).swapaxes(0, 1)
        strength, step = (self.of(layer, "linear_attn.in_proj_ba.weight") @ x).reshape(heads, 2).T
        return [parts[:3].ravel(), parts[3].ravel(), strength, step]

    def mlp(self, layer: int, x: Array) -> Array:
        def parts(number: int) -> tuple[Array, Array, Array]:
            gate, up, down = (self.of(layer, f"mlp.experts.{number}.{name}_proj.weight") for name in NAMES)
            return gate, up, down

        shared = sigmoid(self.of(layer, "mlp.shared_expert_gate.weight") @ x) * super().mlp(layer, x)
        return self.experts(self.of(layer, "mlp.gate.weight"), parts, x) + shared


class Jamba(Model):
    dense = "feed_forward."
    attention_scale = (HIDDEN // mamba.HEADS) ** -0.5

    def __init__(self, blind: Blind | None = None) -> None:
        super().__init__(mamba.jamba(TABLE.successor, blind))

    def recurrent(self, layer: int, x: Array, states: States) -> Array:
        def of(name: str) -> Any:
            return self.of(layer, f"mamba.{name}")

        x, gate = np.split(of("in_proj.weight") @ x, 2)
        x = self.convolved(layer, "mamba", x, states)
        step, write, read = np.split(of("x_proj.weight") @ x, [mamba.RANK, mamba.RANK + mamba.STATE])
        step, write, read = normed(step), normed(write), normed(read)
        step = np.logaddexp(0, of("dt_proj.weight") @ step + of("dt_proj.bias"))
        state = states.matrices[layer] * np.exp(-np.exp(of("A_log")) * step[:, None])
        state = states.matrices[layer] = state + np.outer(step * x, write)
        return np.asarray(of("out_proj.weight") @ ((state @ read + of("D") * x) * silu(gate)))


class Granite(Model):
    attention_scale = mamba2.CONFIG["attention_multiplier"]
    embedding, residual = mamba2.CONFIG["embedding_multiplier"], mamba2.CONFIG["residual_multiplier"]

    def __init__(self, blind: Blind | None = None) -> None:
        super().__init__(mamba2.granite(TABLE.successor, blind))

    def recurrent(self, layer: int, x: Array, states: States) -> Array:
        def of(name: str) -> Any:
            return self.of(layer, f"mamba.{name}")

        heads = mamba2.STATE_HEADS
        gate, x, step = np.split(of("in_proj.weight") @ x, [HIDDEN, -heads])
        x, write, read = np.split(self.convolved(layer, "mamba", x, states), [HIDDEN, HIDDEN + mamba2.STATE])
        x, step = x.reshape(heads, -1), np.logaddexp(0, step + of("dt_bias"))
        state = states.matrices[layer] * np.exp(-np.exp(of("A_log")) * step)[:, None, None]
        state = states.matrices[layer] = state + np.einsum("h,hp,n->hpn", step, x, write)
        out = (state @ read + of("D")[:, None] * x).ravel()
        return np.asarray(of("out_proj.weight") @ (normed(out * silu(gate)) * of("norm.weight")))

    def mlp(self, layer: int, x: Array) -> Array:
        def of(name: str) -> Any:
            return self.of(layer, f"block_sparse_moe.{name}.weight")

        def parts(number: int) -> tuple[Array, Array, Array]:
            gate, up = np.split(of("input_linear")[number], 2)
            return gate, up, of("output_linear")[number]

        gate, up = np.split(self.of(layer, "shared_mlp.input_linear.weight") @ x, 2)
        shared = self.of(layer, "shared_mlp.output_linear.weight") @ (silu(gate) * up)
        return np.asarray(self.experts(of("router.layer"), parts, x) + shared)
