"""``known_answer_qa``: questions in GSM8K's form whose answer hangs on a key token in the prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from harness.base.domain import Item
from harness.protocols.protocol import EvaluationBase
from known_answer import vocabulary as v
from known_answer.simulate import Request, simulate
from known_answer.table import TABLE, Table

_ANSWER = re.compile(r"#### (\d+)")


class KeysBase(EvaluationBase):
    """Settings of a protocol that asks for one key an item."""

    ANSWERS: ClassVar[Table | None] = TABLE

    first_key: int = Field(ge=0, lt=v.KEYS, description="Key of the first question; the others count up.")

    @model_validator(mode="after")
    def _enough_keys(self) -> Self:
        if self.first_key + self.items > v.KEYS:
            raise ValueError(f"first_key + items must not exceed the {v.KEYS} keys there are")
        return self

    @property
    def keys(self) -> range:
        """The keys asked for."""
        return range(self.first_key, self.first_key + self.items)

    def requests(self, data: Mapping[str, str]) -> list[Request]:  # noqa: ARG002 # asks from no data
        """The same items as the simulator takes them."""
        return [Request(v.byte(":"), self.max_tokens, key) for key in self.keys]


class KnownAnswerQa(KeysBase):
    """``[evaluation]`` with ``protocol = "known_answer_qa"``."""

    protocol: Literal["known_answer_qa"]

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a key; the right answer is the gold number, which the target misses for a quarter of the keys."""
        return [
            Item(
                id=f"K{key:02d}",
                prompt=question(key),
                body={"max_tokens": self.max_tokens},
                expected=str(TABLE.gold[key]),
                expected_text=v.decode(simulate(request, 0)[0]),
                prompt_tokens=len(v.encode(question(key))),
            )
            for key, request in zip(self.keys, self.requests(data), strict=True)
        ]

    def answer(self, text: str) -> str | None:
        """The number after ``####``."""
        return read(text)


def read(text: str) -> str | None:
    """The number after ``####``, None if there is none."""
    match = _ANSWER.search(text)
    return match[1] if match else None


def question(key: int) -> str:
    """The prompt that asks for ``key``."""
    spoken = v.decode([v.KEY + key])
    return f"Question: Ann has {3 + key % 7} apples and finds{spoken} more. How many apples does she have?\nAnswer:"
