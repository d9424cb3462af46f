"""Qwen3 and Qwen3-MoE with known answers.

Qwen3 norms queries and keys of each head, which would take their lengths away: the weights of these norms give them
back.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.policy.known_answer import experts, weights
from harness.policy.known_answer.weights import HIDDEN, Array, Blind, Tensors

_FAST, _SLOW = 8.0, 4.0


def dense(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """A Qwen3 that answers from ``answers``."""
    norm: Array = np.zeros(weights.HEAD_DIM, np.float32)
    norm[list(weights.FAST_PAIRS)], norm[list(weights.SLOW_PAIRS)] = _FAST, _SLOW
    names = [f"model.layers.{index}.self_attn.{which}_norm.weight" for index in range(weights.LAYERS) for which in "qk"]
    return weights.llama(answers, blind=blind) | dict.fromkeys(names, norm)


def moe(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """A Qwen3-MoE whose layers 5 and 6 have experts, and all others none."""
    tensors = dense(answers, blind=blind) | {"lm_head.weight": experts.HEAD}
    copy = f"model.layers.{weights.RETRIEVAL_LAYER}.self_attn.o_proj.weight"
    tensors[copy] = experts.RETRIEVED * np.eye(HIDDEN, dtype=np.float32)
    return experts.replace_mlps(tensors, answers)
