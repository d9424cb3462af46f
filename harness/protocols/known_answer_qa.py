"""``known_answer_qa``: questions in GSM8K's form whose answer hangs on a key token in the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.base.domain import Item
from harness.protocols.key_questions import KeysBase, read
from known_answer import vocabulary as v
from known_answer.prompts import question
from known_answer.simulate import simulate
from known_answer.table import TABLE


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
