"""``sums``: what is N + N + 1? An answer is right if its last number is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from harness.base.domain import Item
from harness.protocols.protocol import EvaluationBase


class Sums(EvaluationBase):
    """``[evaluation]`` with ``protocol = "sums"``."""

    protocol: Literal["sums"]

    def questions(self, _data: Mapping[str, str]) -> list[Item]:
        """One item a sum."""
        return [
            Item(
                id=f"S{number:03d}",
                prompt=f"What is {number} + {number + 1}? Answer:",
                body={"max_tokens": self.max_tokens},
                expected=str(2 * number + 1),
            )
            for number in range(self.items)
        ]

    def answer(self, text: str) -> str | None:
        """The last run of digits."""
        found = re.findall(r"\d+", text)
        return found[-1] if found else None
