"""``gsm8k_sglang_run_eval``: SGLang's ``test/run_eval.py`` with its own GSM8K (``simple_eval_mixed_prefix_gsm8k.py``).

The five shots are the first rows of the test file, and the questions come after them. The answer is the last number,
with sign and decimals. As chat, the same text is one user message and there are no stops.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.base.domain import Item
from harness.datasets import gsm8k
from harness.datasets.pinned_files import GSM8K_TEST, Dataset
from harness.protocols.protocol import EvaluationBase

_SHOTS = 5
_STOP = ["Question", "Assistant:", "<|separator|>"]
_NUMBER = re.compile(r"-?\d+\.?\d*")


class Gsm8kSglangRunEval(EvaluationBase):
    """``[evaluation]`` with ``protocol = "gsm8k_sglang_run_eval"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (GSM8K_TEST,)

    protocol: Literal["gsm8k_sglang_run_eval"]
    items: int = Field(
        ge=1,
        le=gsm8k.TEST_ROWS - _SHOTS,
        description="How many test rows are asked, from the sixth one on: the first five are the shots.",
    )
    chat: bool = Field(False, description="The same text as one user message, through the engine's chat template.")

    @property
    def as_chat(self) -> bool:
        """As ``chat`` says."""
        return self.chat

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a test row, from the sixth one on."""
        test = gsm8k.rows(data[GSM8K_TEST.file])
        shots = gsm8k.solved(test[:_SHOTS])
        body: dict[str, Any] = {"max_tokens": self.max_tokens, "top_p": 1.0}
        return [
            Item(
                id=f"G{index:04d}",
                prompt=shots + gsm8k.question(test[index]),
                body=body if self.chat else body | {"stop": _STOP},
                expected=self.answer(test[index]["answer"]),
                special_tokens=not self.chat,
                chat=self.chat,
            )
            for index in range(_SHOTS, _SHOTS + self.items)
        ]

    def answer(self, text: str) -> str | None:
        """The last number."""
        return gsm8k.last_number(_NUMBER, text)
