"""``mt_bench_direct``: the first turns of MT-Bench as chat, of a model that would think first and is told not to.

Otherwise ``mt_bench_first_turn``. What is accepted of thoughts is another number than what is accepted of answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from harness.base.domain import Item
from harness.datasets.pinned_files import MT_BENCH, Dataset
from harness.protocols.protocol import EvaluationBase


class MtBenchDirect(EvaluationBase):
    """``[evaluation]`` with ``protocol = "mt_bench_direct"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (MT_BENCH,)
    CHAT: ClassVar[bool] = True
    TEMPLATE: ClassVar[bool] = True

    protocol: Literal["mt_bench_direct"]
    items: int = Field(ge=1, le=80, description="How many of the 80 questions are asked, from the first one on.")

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a question, in the order of the file: one JSON object a line, with ``question_id`` and ``turns``."""
        rows = [json.loads(line) for line in data[MT_BENCH.file].splitlines()[: self.items]]
        return [
            Item(
                id=f"M{row['question_id']}",
                prompt=row["turns"][0],
                body={"max_tokens": self.max_tokens},
                chat=True,
                template={"enable_thinking": False},
            )
            for row in rows
        ]

    def answer(self, text: str) -> str | None:  # noqa: ARG002 # nothing is scored here
        """None."""
        return None
