"""The known-answer gpt-oss: its experts by a second computation, and what its sinks take."""

from __future__ import annotations

import numpy as np
import pytest

from known_answer import experts, gpt_oss, weights
from known_answer import vocabulary as v
from known_answer.table import TABLE

pytestmark = pytest.mark.slow  # whole models, token by token


def through_experts(tensors: weights.Tensors, x: weights.Array) -> weights.Array:
    """One residual stream through gpt-oss's layers 5 and 6, as transformers' ``modeling_gpt_oss.py`` computes them."""
    for layer in experts.LAYERS:
        part = {name: tensors[f"model.layers.{layer}.mlp.{name}"] for name in ("router.weight", "experts.gate_up_proj")}
        bias, down = (
            tensors[f"model.layers.{layer}.mlp.experts.{name}"] for name in ("gate_up_proj_bias", "down_proj")
        )
        y = x / np.sqrt((x**2).mean() + 1e-5)
        logits = part["router.weight"] @ y
        chosen = np.argsort(-logits, kind="stable")[: gpt_oss.PER_TOKEN]
        shares = np.exp(logits[chosen] - logits[chosen].max())
        for share, number in zip(shares / shares.sum(), chosen, strict=True):
            both = part["experts.gate_up_proj"][number] @ y + bias[number]
            gate, up = np.minimum(both[::2], 7), np.clip(both[1::2], -7, 7)
            x = x + share * (down[number] @ ((up + 1) * gate / (1 + np.exp(-1.702 * gate.clip(-50)))))
    return x


def test_gpt_oss_says_the_successor_with_a_margin() -> None:
    tensors = gpt_oss.moe(TABLE.successor)
    for token, following in TABLE.successor.items():
        # What a layer before copied: the token itself, or the trigger beside the key that it found.
        own = weights.CODE[v.TRIGGER if v.KEY <= token < v.KEY + v.KEYS else token]
        logits = tensors["lm_head.weight"] @ through_experts(tensors, experts.RETRIEVED * weights.CODE[token] + own)
        assert logits.argmax() == following
        assert np.sort(logits)[-1] - np.sort(logits)[-2] > 300  # before the last norm, which divides by 33


def test_sinks_take_what_two_layers_of_gpt_oss_would_write() -> None:
    tensors = gpt_oss.moe(TABLE.successor)
    for layer in (2, 3):
        name = f"model.layers.{layer}.self_attn."
        assert not tensors[name + "q_proj.weight"].any()
        written = tensors[name + "o_proj.weight"] @ tensors[name + "v_proj.weight"] @ weights.CODE[v.WORD]
        assert np.array_equal(written, 64 * weights.CODE[v.EOS])
        attended = 2048 / (2048 + np.exp(tensors[name + "sinks"].astype(float)))
        assert attended.max() < 1e-13
