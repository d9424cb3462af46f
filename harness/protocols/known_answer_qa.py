"""``known_answer_qa``: questions in GSM8K's form whose answer hangs on a key token in the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.base.domain import Item
from harness.protocols.key_questions import KeysBase, read
from known_answer import vocabulary as v
from known_answer.landmarks import ledger
from known_answer.prompts import question
from known_answer.simulate import Request, simulate
from known_answer.table import TABLE


class KnownAnswerQa(KeysBase):
    """``[evaluation]`` with ``protocol = "known_answer_qa"``."""

    protocol: Literal["known_answer_qa"]
    again: int = Field(
        0,
        ge=0,
        description="So many of the items are the first ones once more, at the end: they find in the prefix cache what "
        "the blocks of a request hold that has ended.",
    )
    beyond: int = Field(
        0,
        ge=0,
        description="So many of the items, the last ones, go on behind the end of their answer, along the table's "
        "cycle, to `max_tokens`.",
    )
    ledger_tokens: int | None = Field(
        default=None,
        ge=128,
        le=65536,
        description="Tokens of each prompt, which is a ledger then instead of a question: for models that look for "
        "tokens by what they are, and longer than a page of their recurrent state.",
    )

    @model_validator(mode="after")
    def _within_items(self) -> Self:
        if 2 * self.again > self.items:
            raise ValueError(f"again: at most half of the {self.items} items can be the first ones once more")
        if self.beyond > self.items:
            raise ValueError(f"beyond: there are {self.items} items")
        return self

    @property
    def keys(self) -> Sequence[int]:
        """The keys asked for, in order."""
        once = range(self.first_key, self.first_key + self.items - min(self.again, self.items - 1))
        return [*once, *once[: self.again]]

    def requests(self, data: Mapping[str, str]) -> list[Request]:  # noqa: ARG002 # asks from no data
        """The same items as the simulator takes them."""
        return [
            Request(v.byte(":"), self.max_tokens, key, ignore_eos=self._goes_on(index))
            for index, key in enumerate(self.keys)
        ]

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a key; the right answer is the gold number, which the target misses for a quarter of the keys."""
        asked = [question(key) if self.ledger_tokens is None else ledger(key, self.ledger_tokens) for key in self.keys]
        return [
            Item(
                id=f"K{key:02d}{'' if index < self.items - self.again else '.again'}",
                prompt=prompt,
                body={"max_tokens": self.max_tokens, **({"ignore_eos": True} if request.ignore_eos else {})},
                expected=str(TABLE.gold[key]),
                expected_text=v.decode(simulate(request, 0)[0]),
                prompt_tokens=len(v.encode(prompt)),
            )
            for index, (key, prompt, request) in enumerate(zip(self.keys, asked, self.requests(data), strict=True))
        ]

    def answer(self, text: str) -> str | None:
        """The number after ``####``."""
        return read(text)

    def _goes_on(self, index: int) -> bool:
        return index >= self.items - self.beyond
