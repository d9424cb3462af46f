"""``gsm8k_vllm``: vLLM's isolated script (``tests/evals/gsm8k/gsm8k_eval.py`` at 03e09605).

Five shots, the first rows of the training file; the answer is the last run of digits, so signs and decimals do not
count and "3.50" is 50. What that script calls a wrong answer when a request failed is an error here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from harness.base.domain import Item
from harness.datasets import gsm8k
from harness.datasets.pinned_files import GSM8K_TEST, GSM8K_TRAIN, Dataset
from harness.protocols.protocol import EvaluationBase

_SHOTS = 5
_STOP = ["Question", "Assistant:", "<|separator|>"]
_NUMBER = re.compile(r"\d+")


class Gsm8kVllm(EvaluationBase):
    """``[evaluation]`` with ``protocol = "gsm8k_vllm"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (GSM8K_TRAIN, GSM8K_TEST)

    protocol: Literal["gsm8k_vllm"]
    items: int = Field(ge=1, le=gsm8k.TEST_ROWS, description="How many test rows are asked, from the first one on.")
    max_tokens: int = Field(
        256, ge=1, le=2**20, description="Limit on the tokens of one answer; the script's own is 256."
    )
    temperature: float | None = Field(None, gt=0, le=2, description="Of the sampler; left out: the likeliest token.")

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a test row, from the first one on."""
        sampled = {} if self.temperature is None else {"temperature": self.temperature}
        shots = gsm8k.solved(gsm8k.rows(data[GSM8K_TRAIN.file])[:_SHOTS])
        return [
            Item(
                id=f"G{index:04d}",
                prompt=shots + gsm8k.question(row),
                body={"max_tokens": self.max_tokens, "stop": _STOP, "seed": 42, **sampled},
                expected=self.answer(row["answer"]),
                special_tokens=True,
            )
            for index, row in enumerate(gsm8k.rows(data[GSM8K_TEST.file])[: self.items])
        ]

    def answer(self, text: str) -> str | None:
        """The last run of digits."""
        return gsm8k.last_number(_NUMBER, text)
