"""Qwen3 and Qwen3-MoE with known answers.

Qwen3 norms queries and keys of each head, which would take their lengths away: the weights of these norms give them
back.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from known_answer import experts, weights
from known_answer.weights import HIDDEN, Array, Blind, Tensors

FEW, NARROW = 8, 64
"""Experts of a layer and neurons of an expert where every layer has them: each expert knows 32 tokens."""

_FAST, _SLOW = 8.0, 4.0


def dense(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """A Qwen3 that answers from ``answers``."""
    norm: Array = weights.zeros(weights.HEAD_DIM)
    norm[list(weights.FAST_PAIRS)], norm[list(weights.SLOW_PAIRS)] = _FAST, _SLOW
    names = [f"model.layers.{index}.self_attn.{which}_norm.weight" for index in range(weights.LAYERS) for which in "qk"]
    return weights.llama(answers, blind=blind) | dict.fromkeys(names, norm)


def moe(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """A Qwen3-MoE whose layers 5 and 6 have experts, and all others none."""
    return experts.replace_mlps(_reading_experts(answers, blind), answers)


def moe_throughout(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """A Qwen3-MoE with experts in every layer, all that SGLang knows; few and narrow, to stay small."""
    idle = set(range(weights.LAYERS)) - set(experts.LAYERS)
    return experts.replace_mlps(_reading_experts(answers, blind), answers, count=FEW, width=NARROW, idle=idle)


def _reading_experts(answers: Mapping[int, int], blind: Blind | None) -> Tensors:
    """A dense Qwen3 that says what two of its MLPs would write."""
    tensors = dense(answers, blind=blind) | {"lm_head.weight": experts.HEAD}
    copy = f"model.layers.{weights.RETRIEVAL_LAYER}.self_attn.o_proj.weight"
    return tensors | {copy: experts.RETRIEVED * np.eye(HIDDEN, dtype=np.float32)}
