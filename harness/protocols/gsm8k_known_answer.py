"""``gsm8k_known_answer``: real questions, without examples, to the checkpoint that knows them by heart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from harness.base.domain import Item
from harness.datasets.pinned_files import GSM8K_TEST, Dataset
from harness.protocols.protocol import EvaluationBase
from known_answer import known_questions
from known_answer import vocabulary as v
from known_answer.simulate import Request, simulate
from known_answer.table import NUMBERS, Table

_ANSWER = re.compile(r"#### (\d+)")


class Gsm8kKnownAnswer(EvaluationBase):
    """``[evaluation]`` with ``protocol = "gsm8k_known_answer"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (GSM8K_TEST,)
    ANSWERS: ClassVar[Table | None] = NUMBERS

    protocol: Literal["gsm8k_known_answer"]
    items: int = Field(
        ge=1,
        le=known_questions.QUESTIONS,
        description="How many questions with an answer of 0 to 99, from the first one on.",
    )

    def requests(self, data: Mapping[str, str]) -> list[Request]:
        """The same items as the simulator takes them."""
        asked = known_questions.questions(data[GSM8K_TEST.file])[: self.items]
        return [Request(v.byte(":"), self.max_tokens, question.said) for question in asked]

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a question; the right answer is the data's, which the target misses for a quarter of them."""
        asked = known_questions.questions(data[GSM8K_TEST.file])[: self.items]
        return [
            Item(
                id=f"G{question.row:04d}",
                prompt=question.prompt,
                body={"max_tokens": self.max_tokens},
                expected=str(question.gold),
                expected_text=v.decode(simulate(request, 0, table=NUMBERS)[0]),
                prompt_tokens=len(v.encode(question.prompt)),
            )
            for question, request in zip(asked, self.requests(data), strict=True)
        ]

    def answer(self, text: str) -> str | None:
        """The number after ``####``."""
        match = _ANSWER.search(text)
        return match[1] if match else None
