"""``gsm8k_sglang_few_shot``: SGLang's ``test/few_shot_gsm8k.py``, as its AMD tests of disaggregation run it.

The five shots are the first rows of the test file and are asked too: up to 2.5 points in favour of 200 items. The
answer is the last run of digits, without sign and decimals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from harness.base.domain import Item
from harness.datasets import gsm8k
from harness.datasets.pinned_files import GSM8K_TEST, Dataset
from harness.protocols.protocol import EvaluationBase

_SHOTS = 5
_STOP = ["Question", "Assistant:", "<|separator|>"]
_NUMBER = re.compile(r"\d+")


class Gsm8kSglangFewShot(EvaluationBase):
    """``[evaluation]`` with ``protocol = "gsm8k_sglang_few_shot"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (GSM8K_TEST,)

    protocol: Literal["gsm8k_sglang_few_shot"]
    items: int = Field(ge=1, le=gsm8k.TEST_ROWS, description="How many test rows are asked, from the first one on.")
    max_tokens: int = Field(
        512, ge=1, le=2**20, description="Limit on the tokens of one answer; the script's own is 512."
    )

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a test row, from the first one on, the shots included."""
        test = gsm8k.rows(data[GSM8K_TEST.file])
        shots = gsm8k.solved(test[:_SHOTS])
        return [
            Item(
                id=f"G{index:04d}",
                prompt=shots + gsm8k.question(row),
                body={"max_tokens": self.max_tokens, "stop": _STOP},
                expected=self.answer(row["answer"]),
                special_tokens=True,
            )
            for index, row in enumerate(test[: self.items])
        ]

    def answer(self, text: str) -> str | None:
        """The last run of digits."""
        return gsm8k.last_number(_NUMBER, text)
