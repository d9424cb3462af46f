"""What a model with a whole body (:mod:`.body`) is made of: its layers, their heads, and how RoPE turns these."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from known_answer.weights import FAST_PAIRS, HEAD_DIM, HEADS, LAYERS, ROPE_THETA, SLOW_PAIRS

Turns = tuple[float, ...]


def turns(theta: float = ROPE_THETA, size: int = HEAD_DIM, pairs: int | None = None) -> Turns:
    """Radians a token of each pair of dimensions, theta^(-2i / size), of the first ``pairs`` that turn."""
    count = size // 2 if pairs is None else pairs
    return tuple(float(theta ** (-2 * pair / size)) for pair in range(count))


def yarn_turns(
    theta: float, factor: float, length: int, *, fast: float = 32.0, slow: float = 1.0, size: int = HEAD_DIM
) -> Turns:
    """The same as YaRN stretches them from a context of ``length`` to ``factor`` times that (arXiv 2309.00071).

    Pairs that turn more than ``fast`` times over ``length`` stay, those that turn less than ``slow`` times are divided
    by ``factor``, those between a part of it; nothing is rounded to whole pairs.
    """

    def pair_of(rotations: float) -> float:
        return size * math.log(length / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    first, last = pair_of(fast), pair_of(slow)
    shares = [min(max((pair - first) / (last - first), 0.0), 1.0) for pair in range(size // 2)]
    plain = turns(theta, size)
    return tuple(turn * (1 - share + share / factor) for turn, share in zip(plain, shares, strict=True))


_LLAMA_TURNS = turns()


@dataclass(frozen=True)
class Layer:
    """One attention layer that looks.

    Attributes:
        index: Its place in the model. What is drawn for it hangs on this, and so does the name of its faults.
        heads: KV heads, each with one head that asks. 1, 2, 4 or 8.
        size: Dimensions of a head; a power of two from 32 on.
        turns: Radians a token by pair of dimensions: pair ``i`` is ``i`` and ``i + apart``.
        apart: Between the two dimensions of a pair; half of the head, or of the part of it that RoPE turns.
        fast: Pairs that say where a token stands.
        slow: Pairs that say what it is: RoPE hardly turns them.
        position: Gain of queries and keys on each fast pair.
        content: The same on each slow pair.
        window: Tokens that a token sees, itself included; None: all before it. Where there is one, the end of a
            question asks for a number beyond it, and must be ``idle``, as numbers.
        asks: The trigger asks here for the key, which must be within the window.
        experts: How many its MLP has; 0: it is a plain one.
        few_bits: Each dimension of a value says one thing, so that FP8 holds all weights of values exactly.
        idle: Tokens that look at nothing and leave all attention to the sinks of the heads.
    """

    index: int
    heads: int = HEADS
    size: int = HEAD_DIM
    turns: Turns = _LLAMA_TURNS
    apart: int = HEAD_DIM // 2
    fast: range = FAST_PAIRS
    slow: range = SLOW_PAIRS
    position: float = 16.0
    content: float = 16.0
    window: int | None = None
    asks: bool = True
    experts: int = 0
    idle: tuple[int, ...] = ()
    few_bits: bool = False

    @property
    def fast_turns(self) -> npt.NDArray[np.float64]:
        """(fast pairs,) radians a token."""
        return np.array([self.turns[pair] for pair in self.fast])


@dataclass(frozen=True)
class Anatomy:
    """All layers that look.

    Attributes:
        layers: In their order; others may stand between them.
        doubles: Index of the layer whose MLP doubles codes, so that not all auxiliary hidden states are alike; what
            later ones write is twice as loud.
    """

    layers: tuple[Layer, ...] = field(default_factory=lambda: tuple(map(Layer, range(LAYERS))))
    doubles: int | None = LAYERS // 2

    @property
    def has_experts(self) -> bool:
        """Whether some layer has them."""
        return any(layer.experts for layer in self.layers)

    @property
    def fault(self) -> float:
        """How loud a fault is. With experts louder than what these leave behind one."""
        return 1.0 if self.has_experts else 1 / 8

    @property
    def shares(self) -> int:
        """How many heads bring a share of the number."""
        return sum(layer.heads for layer in self.layers if layer.asks)

    def loudness(self, layer: Layer) -> float:
        """Of a token's code in front of the layer, in units of what the embedding wrote."""
        return 2.0 if self.doubles is not None and layer.index > self.doubles else 1.0


LLAMA = Anatomy()
FIRST_TWO = Anatomy(LLAMA.layers[:2], doubles=None)
"""Of the drafter with two layers."""
