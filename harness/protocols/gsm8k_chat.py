r"""``gsm8k_chat``: GSM8K as chat to any server: one user message, no shots, whatever thinking the model does by itself.

The message is that of ``gsm8k_sgl_eval``. It differs in what a server may do: nothing tells the chat template to turn
thinking off, which OpenAI's API has no word for. The answer is the number in the last ``\boxed{…}``; of a model that
does not write one, the last number of its answer. Reasoning that is kept apart is no part of the answer.
"""

from __future__ import annotations

import re
from typing import Literal

from harness.datasets import gsm8k
from harness.protocols import latex_numbers
from harness.protocols.boxed_questions import SOLVE, BoxedBase, as_written

_NUMBER = re.compile(r"-?\d+\.?\d*")


class Gsm8kChat(BoxedBase):
    """``[evaluation]`` with ``protocol = "gsm8k_chat"``."""

    protocol: Literal["gsm8k_chat"]

    def prompt(self, question: str) -> str:
        """What is to be done, and the question."""
        return SOLVE + question

    def answer(self, text: str) -> str | None:
        r"""The number in the last ``\boxed{…}``, else the last number; what is no number in a box is wrong."""
        content = latex_numbers.boxed(text)
        return gsm8k.last_number(_NUMBER, text) if content is None else as_written(content)
