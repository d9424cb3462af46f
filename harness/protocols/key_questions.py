"""What protocols have in common that ask the known-answer models for one key an item."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from pydantic import Field, model_validator

from harness.protocols.protocol import EvaluationBase
from known_answer import vocabulary as v
from known_answer.simulate import Request
from known_answer.table import TABLE, Table

_ANSWER = re.compile(r"#### (\d+)")


class KeysBase(EvaluationBase):
    """Settings of a protocol that asks for one key an item."""

    ANSWERS: ClassVar[Table | None] = TABLE

    first_key: int = Field(ge=0, lt=v.KEYS, description="Key of the first question; the others count up.")

    @model_validator(mode="after")
    def _enough_keys(self) -> Self:
        if max(self.keys) >= v.KEYS:
            raise ValueError(f"first_key + items must not exceed the {v.KEYS} keys there are")
        return self

    @property
    def keys(self) -> Sequence[int]:
        """The keys asked for, in order."""
        return range(self.first_key, self.first_key + self.items)

    def requests(self, data: Mapping[str, str]) -> list[Request]:  # noqa: ARG002 # asks from no data
        """The same items as the simulator takes them."""
        return [Request(v.byte(":"), self.max_tokens, key) for key in self.keys]


def read(text: str) -> str | None:
    """The number after ``####``, None if there is none."""
    match = _ANSWER.search(text)
    return match[1] if match else None
