"""A claim about a rule, and how often it may be or must be so."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Generator = np.random.Generator
_SURE = 5.0  # standard errors of the simulation that a rate may be beyond its limit


@dataclass(frozen=True)
class Claim:
    """Something that is said of a rule.

    Attributes:
        kind: ``at-most`` and ``at-least`` of a stated rate; ``about`` of a coverage, to ``slack``.
        rate: The stated rate.
        tried: How many of so many tries it happened in.
    """

    name: str
    kind: Literal["at-most", "at-least", "about"]
    rate: float
    tried: Callable[[Generator, int], int]
    slack: float = 0.0

    def wrong(self, happened: int, tries: int) -> str:
        """Why what was seen cannot be what is claimed; empty if it can."""
        seen, error = happened / tries, math.sqrt(self.rate * (1 - self.rate) / tries)
        over, under = seen - self.rate, self.rate - seen
        limit = _SURE * error + self.slack
        bad = {"at-most": over > limit, "at-least": under > limit, "about": abs(over) > limit}[self.kind]
        return f"{self.name}: {self.kind} {self.rate:g} claimed, {seen:.5f} seen" if bad else ""


def in_parts(tried: Callable[[Generator, int], int], most: int) -> Callable[[Generator, int], int]:
    """The same, a part at a time: what it needs of memory is bounded."""
    return lambda draw, tries: sum(tried(draw, min(most, tries - done)) for done in range(0, tries, most))
