"""``known_answer_cycle``: long answers that walk the table's cycle from every phase; only texts are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from harness.base.domain import Item
from harness.protocols.protocol import EvaluationBase
from known_answer import vocabulary as v
from known_answer.simulate import Request, simulate
from known_answer.table import CYCLE, TABLE, Table


class KnownAnswerCycle(EvaluationBase):
    """``[evaluation]`` with ``protocol = "known_answer_cycle"``."""

    ANSWERS: ClassVar[Table | None] = TABLE

    protocol: Literal["known_answer_cycle"]
    # Every text is known beforehand, token by token: there is no end but this.
    items: int = Field(ge=1, le=1000, description="How many items are asked; a baseline's n must agree.")
    max_tokens: int = Field(ge=1, le=4096, description="Tokens of one answer.")

    def requests(self, data: Mapping[str, str]) -> list[Request]:  # noqa: ARG002 # asks from no data
        """The items as the simulator takes them."""
        return [Request(_phase(index), self.max_tokens, ignore_eos=True) for index in range(self.items)]

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a phase, without a right answer."""
        prompts = [f"Say it {index} times:{v.decode([_phase(index)])}" for index in range(self.items)]
        return [
            Item(
                id=f"C{index:02d}",
                prompt=prompt,
                body={"max_tokens": self.max_tokens, "ignore_eos": True},
                expected_text=v.decode(simulate(request, 0)[0]),
                prompt_tokens=len(v.encode(prompt)),
            )
            for index, (prompt, request) in enumerate(zip(prompts, self.requests(data), strict=True))
        ]

    def answer(self, text: str) -> str | None:  # noqa: ARG002 # nothing is scored here
        """None."""
        return None


def _phase(index: int) -> int:
    # 11 and 60 are coprime: 60 items start at all 60 letters.
    return CYCLE[11 * index % len(CYCLE)]
