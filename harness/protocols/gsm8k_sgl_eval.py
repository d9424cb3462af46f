r"""``gsm8k_sgl_eval``: GSM8K as sgl-eval 0.1.3 asks it, which SGLang's newer tests run: chat, no shots, thinking off.

Prompt and reading are those of NeMo-Skills (Apache-2.0), from which it takes them: one user message, and the answer in
``\boxed{…}``. Its grader compares formulas; all of GSM8K's answers are whole numbers, so numbers are compared here.
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

_LONGEST = 1000  # characters of what is no number: it is only shown
_PROMPT = "Solve the following math problem. Make sure to put the answer (and only answer) inside \\boxed{}.\n\n"
_TEMPLATE = {"enable_thinking": False, "thinking": False}  # templates know one or the other


class Gsm8kSglEval(EvaluationBase):
    """``[evaluation]`` with ``protocol = "gsm8k_sgl_eval"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (GSM8K_TEST,)
    CHAT: ClassVar[bool] = True
    TEMPLATE: ClassVar[bool] = True

    protocol: Literal["gsm8k_sgl_eval"]
    items: int = Field(ge=1, le=gsm8k.TEST_ROWS, description="How many test rows are asked, from the first one on.")
    max_tokens: int = Field(
        2048, ge=1, le=2**20, description="Limit on the tokens of one answer; SGLang's tests have 2048."
    )

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a test row, from the first one on."""
        return [
            Item(
                id=f"G{index:04d}",
                prompt=_PROMPT + row["question"],
                body={"max_tokens": self.max_tokens},
                expected=row["answer"].rpartition("####")[2].strip().replace(",", ""),
                chat=True,
                template=_TEMPLATE,
            )
            for index, row in enumerate(gsm8k.rows(data[GSM8K_TEST.file])[: self.items])
        ]

    def answer(self, text: str) -> str | None:
        r"""The number in the last ``\boxed{…}``; what is no number there is wrong, as it stands."""
        content = latex_numbers.boxed(text)
        value = latex_numbers.number(content) if content else None
        return (content or "")[:_LONGEST] or None if value is None else str(value)
