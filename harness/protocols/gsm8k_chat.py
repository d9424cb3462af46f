r"""``gsm8k_chat``: GSM8K as chat to any server: one user message, no shots, whatever thinking the model does by itself.

The message is that of ``gsm8k_sgl_eval``. It differs in what a server may do: nothing tells the chat template to turn
thinking off, which OpenAI's API has no word for. The answer is the number in the last ``\boxed{…}``; of a model that
does not write one, the last number of its answer. Reasoning that is kept apart is no part of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from harness.base.domain import Item
from harness.datasets import gsm8k
from harness.datasets.pinned_files import GSM8K_TEST, Dataset
from harness.protocols import latex_numbers
from harness.protocols.protocol import EvaluationBase

_LONGEST = 1000  # characters of what is no number: it is only shown
_NUMBER = re.compile(r"-?\d+\.?\d*")
_PROMPT = "Solve the following math problem. Make sure to put the answer (and only answer) inside \\boxed{}.\n\n"


class Gsm8kChat(EvaluationBase):
    """``[evaluation]`` with ``protocol = "gsm8k_chat"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (GSM8K_TEST,)
    CHAT: ClassVar[bool] = True

    protocol: Literal["gsm8k_chat"]
    items: int = Field(ge=1, le=gsm8k.TEST_ROWS, description="How many test rows are asked, from the first one on.")

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a test row, from the first one on."""
        return [
            Item(
                id=f"G{index:04d}",
                prompt=_PROMPT + row["question"],
                body={"max_tokens": self.max_tokens},
                expected=row["answer"].rpartition("####")[2].strip().replace(",", ""),
                chat=True,
            )
            for index, row in enumerate(gsm8k.rows(data[GSM8K_TEST.file])[: self.items])
        ]

    def answer(self, text: str) -> str | None:
        r"""The number in the last ``\boxed{…}``, else the last number; what is no number in a box is wrong."""
        content = latex_numbers.boxed(text)
        if content is None:
            return gsm8k.last_number(_NUMBER, text)
        value = latex_numbers.number(content)
        return content[:_LONGEST] or None if value is None else str(value)
