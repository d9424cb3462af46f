"""Generations of accelerators, as vendors number or name them: compute capabilities, and names as gfx942."""

from __future__ import annotations

import re
from collections.abc import Iterable

WANTED = r"(>=)?[0-9]{1,3}\.[0-9]|gfx[0-9a-f]{3,5}"
"""One that a case may ask for: a compute capability, one from which on all will do, or a name."""


def suits(architecture: str, wanted: Iterable[str]) -> bool:
    """Whether an accelerator is one of those that are wanted. One of which nobody says what it is may be."""
    alternatives = list(wanted)
    return not architecture or not alternatives or any(_is(architecture, each) for each in alternatives)


def _is(architecture: str, wanted: str) -> bool:
    least = wanted.removeprefix(">=")
    if least == wanted:
        return architecture == wanted
    return re.fullmatch(r"\d+\.\d+", architecture) is not None and _number(architecture) >= _number(least)


def _number(capability: str) -> tuple[int, ...]:
    return tuple(map(int, capability.split(".")))
