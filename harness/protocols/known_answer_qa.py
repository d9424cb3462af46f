"""``known_answer_qa``: questions in GSM8K's form whose answer hangs on a key token in the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.base.domain import Item
from harness.protocols.key_questions import KeysBase, read
from known_answer import vocabulary as v
from known_answer.landmarks import ledger
from known_answer.prompts import question
from known_answer.simulate import simulate
from known_answer.table import TABLE


class KnownAnswerQa(KeysBase):
    """``[evaluation]`` with ``protocol = "known_answer_qa"``."""

    protocol: Literal["known_answer_qa"]
    ledger_tokens: int | None = Field(
        default=None,
        ge=128,
        le=65536,
        description="Tokens of each prompt, which is a ledger then instead of a question: for models that look for "
        "tokens by what they are, and longer than a page of their recurrent state.",
    )

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a key; the right answer is the gold number, which the target misses for a quarter of the keys."""
        asked = [question(key) if self.ledger_tokens is None else ledger(key, self.ledger_tokens) for key in self.keys]
        return [
            Item(
                id=f"K{key:02d}",
                prompt=prompt,
                body={"max_tokens": self.max_tokens},
                expected=str(TABLE.gold[key]),
                expected_text=v.decode(simulate(request, 0)[0]),
                prompt_tokens=len(v.encode(prompt)),
            )
            for key, prompt, request in zip(self.keys, asked, self.requests(data), strict=True)
        ]

    def answer(self, text: str) -> str | None:
        """The number after ``####``."""
        return read(text)
