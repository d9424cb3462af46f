"""Qwen3 and Qwen3-MoE with known answers.

Qwen3 norms queries and keys of each head, which would take their lengths away: the weights of these norms give them
back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from known_answer import body, body_experts, weights
from known_answer.anatomy import LLAMA, Anatomy, Layer
from known_answer.weights import Blind, Tensors

FEW, NARROW = 8, 64
"""Experts of a layer and neurons of an expert where every layer has them."""

NORMED = 8.0
"""Weight of the norms of queries and keys. What looks by position alone has it as its root mean square: it stays."""

WITH_EXPERTS, COUNT, WIDTH = (5, 6), 16, 128
"""Layers that have experts, how many, and neurons of each: one block of FP8 weights."""


def dense(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """A Qwen3 that answers from ``answers`` with its whole body."""
    return _normed(answers, LLAMA, blind, body.plain_mlp)


def moe(answers: Mapping[int, int], blind: Blind | None = None, *, few_bits: bool = False) -> Tensors:
    """A Qwen3-MoE whose layers 5 and 6 have experts, and all others none."""
    layers = (
        replace(each, experts=COUNT if each.index in WITH_EXPERTS else 0, few_bits=few_bits) for each in LLAMA.layers
    )
    return _normed(answers, replace(LLAMA, layers=tuple(layers)), blind, partial(_mlp, width=WIDTH))


def moe_in_fp8(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """The same with values that FP8 holds exactly."""
    return moe(answers, blind, few_bits=True)


def moe_throughout(answers: Mapping[int, int], blind: Blind | None = None) -> Tensors:
    """A Qwen3-MoE with experts in every layer, all that SGLang knows; few and narrow, to stay small."""
    layers = (replace(each, experts=FEW) for each in LLAMA.layers)
    return _normed(answers, replace(LLAMA, layers=tuple(layers)), blind, partial(_mlp, width=NARROW))


def _mlp(anatomy: Anatomy, layer: Layer, blind: Blind | None, width: int) -> Tensors:
    if layer.experts:
        return body_experts.gated_by_silu(anatomy, layer, blind, width)
    return body.plain_mlp(anatomy, layer, blind)


def _normed(answers: Mapping[int, int], anatomy: Anatomy, blind: Blind | None, mlp: body.Mlp) -> Tensors:
    """A model with norms of queries and keys."""
    norm = np.full(weights.HEAD_DIM, NORMED, np.float32)
    names = [f"model.layers.{each.index}.self_attn.{which}_norm.weight" for each in anatomy.layers for which in "qk"]
    return body.llama(answers, anatomy=anatomy, blind=blind, mlp=mlp) | dict.fromkeys(names, norm)
