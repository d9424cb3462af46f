"""``prefix_edge_cases``: the same three edges in plain text, for any model; texts are compared, nothing is scored.

Without the model's tokenizer lengths are bounds: a byte-level tokenizer makes at most one token a byte and at least one
a word. A short prompt has fewer bytes than a block has tokens; a long one at least four blocks of words, and what goes
ahead of a partial hit more than two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.base.domain import Item, Prime
from harness.protocols.protocol import EDGE_CASES, PrefixCacheBase

ID: Literal["prefix_edge_cases"] = "prefix_edge_cases"

_OPENINGS = (
    "The moon is",
    "Rain falls on",
    "A long road",
    "My dog likes",
    "He opened the",
    "Winter comes",
    "Two birds sat",
    "She wrote of",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PEOPLE = (
    "baker",
    "sailor",
    "teacher",
    "gardener",
    "painter",
    "farmer",
    "doctor",
    "weaver",
    "miller",
    "singer",
    "smith",
)
_THINGS = (
    "bread",
    "rope",
    "chalk",
    "seeds",
    "brushes",
    "apples",
    "bottles",
    "cloth",
    "flour",
    "songs",
    "nails",
    "books",
    "clay",
)
_PLACES = ("harbour", "market", "mill", "bridge", "garden", "tower", "station", "library", "square")


class PrefixEdgeCases(PrefixCacheBase):
    """``[evaluation]`` with ``protocol = "prefix_edge_cases"``."""

    protocol: Literal["prefix_edge_cases"]
    items: int = Field(ge=3, le=24, description="How many items are asked; short, full and partial take turns.")

    def questions(self, data: Mapping[str, str]) -> list[Item]:  # noqa: ARG002 # asks from no data
        """Items without a right answer."""
        made = []
        for index in range(self.items):
            kind = EDGE_CASES[index % len(EDGE_CASES)]
            prompt, ahead = _OPENINGS[index // len(EDGE_CASES)], ""
            if kind != "short":
                prompt = _story(index, 4 * self.block_size)
                # The last word of what goes ahead may join what follows into one token, so more than two blocks.
                ahead = prompt if kind == "full" else _story(index, 2 * self.block_size + 1)
            item = Item(
                id=f"{kind}-{index // len(EDGE_CASES)}",
                prompt=prompt,
                body={"max_tokens": self.max_tokens},
                prime=Prime("decode", ahead) if ahead else None,
            )
            made.append(item)
        return made

    def answer(self, text: str) -> str | None:  # noqa: ARG002 # nothing is scored here
        """None."""
        return None


def _sentence(item: int, index: int) -> str:
    """One of ten words. The list of an item differs from any other's in its first sentence."""
    step = 5 * item + index
    day, person = _DAYS[item % len(_DAYS)], _PEOPLE[(item + index) % len(_PEOPLE)]
    return f"On {day} the {person} carried {_THINGS[step % len(_THINGS)]} to the {_PLACES[step % len(_PLACES)]}."


def _story(item: int, words: int) -> str:
    """Sentences with at least ``words`` words together."""
    count = -(-words // len(_sentence(item, 0).split()))
    return " ".join(_sentence(item, index) for index in range(count))
