r"""``gsm8k_sgl_eval``: GSM8K as sgl-eval 0.1.3 asks it, which SGLang's newer tests run: chat, no shots, thinking off.

Prompt and reading are those of NeMo-Skills (Apache-2.0), from which it takes them: one user message, and the answer in
``\boxed{…}``. Its grader compares formulas; all of GSM8K's answers are whole numbers, so numbers are compared here.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from harness.protocols import latex_numbers
from harness.protocols.boxed_questions import SOLVE, BoxedBase, as_written


class Gsm8kSglEval(BoxedBase):
    """``[evaluation]`` with ``protocol = "gsm8k_sgl_eval"``."""

    TEMPLATE: ClassVar[bool] = True
    # Templates know one or the other.
    SAID: ClassVar[dict[str, bool]] = {"enable_thinking": False, "thinking": False}

    protocol: Literal["gsm8k_sgl_eval"]
    max_tokens: int = Field(
        2048, ge=1, le=2**20, description="Limit on the tokens of one answer; SGLang's tests have 2048."
    )

    def prompt(self, question: str) -> str:
        """What is to be done, and the question."""
        return SOLVE + question

    def answer(self, text: str) -> str | None:
        r"""The number in the last ``\boxed{…}``; what is no number there is wrong, as it stands."""
        return as_written(latex_numbers.boxed(text) or "")
