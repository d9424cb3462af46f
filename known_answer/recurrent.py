"""What recurrent layers with known answers have in common, whatever their recurrence.

A key token writes its code into the state of each recurrent layer, and the trigger reads it there. Every such layer
adds a part of the code to the residual stream, the layer of attention another, and an answer is right only if all parts
are there: if every recurrent state and the KV cache are those of the prompt.

The state of the convolution, the last three tokens before it, is needed at one token: the colon at which a prompt ends
spoils what was written, unless the convolution finds the mark that every token leaves for the next one. A decode server
computes just that token of the prompt, and cannot leave marks itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from known_answer import vocabulary as v
from known_answer import weights
from known_answer.weights import CODE, HIDDEN, IS_KEY, IS_TRIGGER, Array, Blind, zeros

TAPS = 4
"""Width of the convolutions."""

CONSTANT: Array = np.eye(1, HIDDEN, dtype=np.float32)[0]
"""1 on every code."""

IS_COLON: Array = CODE[v.byte(":")] / HIDDEN
"""1 on the code of the colon, 0 on all others."""

OPEN = 16.0
"""SiLU leaves it as it is, and makes zero of its opposite."""

GATE = 30.0
"""A sigmoid of it is 1, of its opposite 0."""

KEY = 32.0
"""What is left of the mark of a key where the token before has left one too."""

_MARK, _COLON = 256.0, 128.0
_APART = 8.0  # the trigger has more of its key's code than this nowhere


def is_key(blind: Blind | None) -> Array:
    """1 on the code of a key, nowhere else above 0: below it where a trigger has retrieved its key.

    Args:
        blind: To keys, or to the trigger.
    """
    return (IS_KEY if blind != "key" else np.zeros_like(IS_KEY)) - _APART * IS_TRIGGER


def asks(blind: Blind | None) -> Array:
    """``OPEN`` on the code of the trigger, 0 on all others."""
    return OPEN * IS_TRIGGER if blind != "query" else np.zeros_like(IS_TRIGGER)


def writes(blind: Blind | None) -> Array:
    """``GATE`` on the codes of keys and of the colon, its opposite or less on all others."""
    return 2 * GATE * (is_key(blind) + IS_COLON) - GATE * CONSTANT


def marks(blind: Blind | None) -> Array:
    """What a token leaves for the next: with :func:`taps`, only a key, or a colon after no mark, is above 0."""
    left = _COLON * IS_COLON
    return left if blind == "key" else left + _MARK * (CONSTANT - IS_COLON) + KEY * IS_KEY


def taps(channels: int, marked: int | None = None) -> Array:
    """Weights (channels, 1, 4) of a convolution that does nothing but take the mark before from a channel's own."""
    kernel = zeros(channels, 1, TAPS)
    kernel[:, 0, -1] = 1
    if marked is not None:
        kernel[marked, 0, -2] = -1
    return kernel


def halves(group: int) -> Array:
    """Rows (512, 512) that make of a key's code what SiLU leaves of it, and of its opposite.

    The second half of the code of every key is the opposite of its first, so that the first is enough. Half of the
    numbers in each group are positive then, and the norm of a group is the same for all keys.

    Args:
        group: How many numbers are a group.
    """
    rows = zeros(HIDDEN // group, 2, group // 2, HIDDEN)
    for column in range(HIDDEN // 2):
        number, row = divmod(column, group // 2)
        rows[number, :, row, column] = OPEN, -OPEN
    return rows.reshape(HIDDEN, HIDDEN)


def code(group: int) -> Array:
    """The map (512, 512) from what :func:`halves` made, each number 0 or 1, back to the code."""
    first = halves(group)[:, : HIDDEN // 2].T / OPEN
    return np.concatenate([first, -first])


def gated(layers: int, missing: int | None = None) -> float:
    """How much of its key's code the residual stream of the trigger has after ``layers`` that each add a part.

    The trigger's own is there once. A part is column 0 of the normed stream before the layer, by which it is gated, and
    grows with what is retrieved.

    Args:
        layers: Recurrent layers.
        missing: The one that retrieves nothing.
    """
    found = 0.0
    for layer in range(layers):
        found += (1 + found) / (1 + found**2) ** 0.5 if layer != missing else 0
    return found


def head(answers: Mapping[int, int], whole: float, part: float) -> Array:
    """lm_head that says the number of a retrieved key, or ends the answer.

    Args:
        answers: Successors.
        whole: How much of its key's code the trigger has where nothing is missing.
        part: The most of it that it has where something is.
    """
    rows = weights.head(answers)
    rows[v.EOS] += weights.GAIN * (whole + part) / 2 * CODE[v.TRIGGER]
    return rows
