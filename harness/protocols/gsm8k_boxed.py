r"""``gsm8k_boxed``: GSM8K as vLLM's tests of acceptance ask it: chat, no shots, step by step, thinking off.

vLLM tests/v1/e2e/spec_decode/acceptance_rates/utils.py at 025aa2e8 asks the first 200 rows with up to 2048 tokens, one
at a time, and scores nothing. The number in the last ``\boxed{…}`` is read here all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from harness.base.domain import Item
from harness.datasets import gsm8k
from harness.datasets.pinned_files import GSM8K_TEST, Dataset
from harness.protocols import latex_numbers
from harness.protocols.protocol import EvaluationBase

_PROMPT = "\nPlease reason step by step, and put your final answer within \\boxed{}."


class Gsm8kBoxed(EvaluationBase):
    """``[evaluation]`` with ``protocol = "gsm8k_boxed"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (GSM8K_TEST,)
    CHAT: ClassVar[bool] = True
    TEMPLATE: ClassVar[bool] = True

    protocol: Literal["gsm8k_boxed"]
    items: int = Field(ge=1, le=gsm8k.TEST_ROWS, description="How many test rows are asked, from the first one on.")
    max_tokens: int = Field(
        2048, ge=1, le=2**20, description="Limit on the tokens of one answer; vLLM's tests have 2048."
    )

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a test row, from the first one on."""
        return [
            Item(
                id=f"G{index:04d}",
                prompt=row["question"] + _PROMPT,
                body={"max_tokens": self.max_tokens},
                expected=row["answer"].rpartition("####")[2].strip().replace(",", ""),
                chat=True,
                template={"enable_thinking": False},
            )
            for index, row in enumerate(gsm8k.rows(data[GSM8K_TEST.file])[: self.items])
        ]

    def answer(self, text: str) -> str | None:
        r"""The number in the last ``\boxed{…}``, None if there is none."""
        content = latex_numbers.boxed(text)
        value = latex_numbers.number(content) if content else None
        return None if value is None else str(value)
