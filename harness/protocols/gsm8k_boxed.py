r"""``gsm8k_boxed``: GSM8K as vLLM's tests of acceptance ask it: chat, no shots, step by step, thinking off.

vLLM tests/v1/e2e/spec_decode/acceptance_rates/utils.py at 025aa2e8 asks the first 200 rows with up to 2048 tokens, one
at a time, and scores nothing. The number in the last ``\boxed{…}`` is read here all the same.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from harness.protocols import latex_numbers
from harness.protocols.boxed_questions import BoxedBase

_PROMPT = "\nPlease reason step by step, and put your final answer within \\boxed{}."


class Gsm8kBoxed(BoxedBase):
    """``[evaluation]`` with ``protocol = "gsm8k_boxed"``."""

    TEMPLATE: ClassVar[bool] = True
    SAID: ClassVar[dict[str, bool]] = {"enable_thinking": False}

    protocol: Literal["gsm8k_boxed"]
    max_tokens: int = Field(
        2048, ge=1, le=2**20, description="Limit on the tokens of one answer; vLLM's tests have 2048."
    )

    def prompt(self, question: str) -> str:
        """The question, and how it is to be answered."""
        return question + _PROMPT

    def answer(self, text: str) -> str | None:
        r"""The number in the last ``\boxed{…}``, None if there is none."""
        content = latex_numbers.boxed(text)
        value = latex_numbers.number(content) if content else None
        return None if value is None else str(value)
