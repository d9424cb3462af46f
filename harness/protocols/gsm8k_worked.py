"""``gsm8k_worked``: GSM8K with every solution worked out but for its last number, which the model has to read off.

For models so small that they solve next to nothing: of 32 rows, SmolLM2 135M solves none or one, and a share that close
to nothing shows nothing. Prompts are those of ``gsm8k_vllm`` with the row's own solution behind the question, up to
``####``: five shots, a long context, and one number that stands in it. It is a protocol of this project, and its share
is no GSM8K score.
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
_MARK = "####"
_NUMBER = re.compile(r"-?\d+\.?\d*")


class Gsm8kWorked(EvaluationBase):
    """``[evaluation]`` with ``protocol = "gsm8k_worked"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (GSM8K_TRAIN, GSM8K_TEST)

    protocol: Literal["gsm8k_worked"]
    items: int = Field(ge=1, le=gsm8k.TEST_ROWS, description="How many test rows are asked, from the first one on.")

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a test row, from the first one on."""
        shots = gsm8k.solved(gsm8k.rows(data[GSM8K_TRAIN.file])[:_SHOTS])
        return [
            self._item(index, row, shots) for index, row in enumerate(gsm8k.rows(data[GSM8K_TEST.file])[: self.items])
        ]

    def _item(self, index: int, row: gsm8k.Row, shots: str) -> Item:
        worked, mark, number = row["answer"].rpartition(_MARK)
        return Item(
            id=f"G{index:04d}",
            prompt=f"{shots}{gsm8k.question(row)} {worked}{mark}",
            body={"max_tokens": self.max_tokens, "stop": ["\n"]},
            expected=self.answer(number),
            special_tokens=True,
        )

    def answer(self, text: str) -> str | None:
        """The last number; an answer ends with its line."""
        return gsm8k.last_number(_NUMBER, text)
