"""What attention and layers of a known-answer Gemma are made of: sizes, and where in a head what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from known_answer import vocabulary as v
from known_answer import weights
from known_answer.weights import Array

Kind = Literal["sliding_attention", "full_attention"]
SLIDING: Kind = "sliding_attention"
FULL: Kind = "full_attention"

SELF = 512.0
"""Score of a token for itself."""
KEY_CODES: Array = weights.sylvester(128)[: v.KEYS]
"""What a value says of a key: shorter than a token's code, so that few and small heads can carry it."""

_ROPE: dict[Kind, dict[str, str | float]] = {
    SLIDING: {"rope_type": "default", "rope_theta": 1e4},
    FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
}


@dataclass(frozen=True)
class Heads:
    """One kind of attention.

    Attributes:
        kind: As the configuration names it.
        size: Of a head, in values.
        queries: Heads that ask.
        keys: Heads that are asked.
        tied: Values are what the keys are made from (``attention_k_eq_v``).
        factor: By which RoPE divides positions.
    """

    kind: Kind
    size: int
    queries: int
    keys: int
    tied: bool = False
    factor: float = 1.0

    @property
    def rope(self) -> dict[str, str | float]:
        """As the configuration has it."""
        return _ROPE[self.kind]

    @property
    def fast(self) -> range:
        """First dimensions of the pairs that RoPE turns fast: by them a token sees itself."""
        return range(self.size // 4 if self.kind == SLIDING else self.size // 8)

    @property
    def slow(self) -> range:
        """First dimensions of the pairs that it hardly turns, or not at all: by them the trigger sees a key."""
        return range(3 * self.size // 8, self.size // 2)

    @property
    def carried(self) -> list[int]:
        """The dimensions in which values carry what they say: none that turns, where keys are values too."""
        first, half = range(self.size // 8, 3 * self.size // 8), self.size // 2
        return [*first, *(half + dimension for dimension in first)][: len(KEY_CODES[0]) // self.keys]

    def lead(self, nearest: int = 1, farthest: int = 2048) -> float:
        """Least lead, in nats, of a token's score for itself over any token at these distances."""
        distances = np.arange(nearest, farthest)[:, None] / self.factor
        frequencies = float(self.rope["rope_theta"]) ** (-2 * np.array(self.fast) / self.size)[None]
        return float(SELF * (1 - np.cos(distances * frequencies)).mean(axis=1).min())


@dataclass(frozen=True)
class Shape:
    """What one model of the family is made of.

    Attributes:
        sliding: Its attention with a window.
        full: Its attention that sees everything.
        kinds: Of each layer, the last a full one behind a sliding one.
        shared: How many of the last layers have no KV cache of their own.
        intermediate: Width of the MLPs.
        double: Those of layers without a KV cache are twice as wide.
        per_layer: Width of the per-layer inputs, 0 without them.
        experts: How many, 0 without them.
        expert_width: Of each expert.
    """

    sliding: Heads
    full: Heads
    kinds: tuple[Kind, ...]
    shared: int = 0
    intermediate: int = 512
    double: bool = False
    per_layer: int = 0
    experts: int = 0
    expert_width: int = 0

    def heads(self, layer: int) -> Heads:
        return self.sliding if self.kinds[layer] == SLIDING else self.full

    def owner(self, layer: int) -> int:
        """The layer whose KV cache this one reads: the last of its kind that has one."""
        own = len(self.kinds) - self.shared
        return layer if layer < own else max(i for i in range(own) if self.kinds[i] == self.kinds[layer])

    @property
    def asking(self) -> frozenset[int]:
        """The layers in which the trigger asks: of those that read the same KV cache the last one."""
        return frozenset({self.owner(layer): layer for layer in range(len(self.kinds))}.values())

    @property
    def last(self) -> int:
        return len(self.kinds) - 1
