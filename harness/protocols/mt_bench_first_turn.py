"""``mt_bench_first_turn``: the first turns of MT-Bench, as chat; nothing is scored, acceptance is counted.

The engine's own chat template makes the prompt, with the generation prompt and without special tokens on top: a second
beginning-of-sequence token costs about 5 % of the acceptance length (vllm-project/vllm 44234). Answers are greedy and
may end early.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from harness.base.domain import Item
from harness.datasets.pinned_files import MT_BENCH, Dataset
from harness.protocols.protocol import EvaluationBase


class MtBenchFirstTurn(EvaluationBase):
    """``[evaluation]`` with ``protocol = "mt_bench_first_turn"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (MT_BENCH,)
    CHAT: ClassVar[bool] = True

    protocol: Literal["mt_bench_first_turn"]
    items: int = Field(ge=1, le=80, description="How many of the 80 questions are asked, from the first one on.")

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a question, in the order of the file: one JSON object a line, with ``question_id`` and ``turns``."""
        rows = [json.loads(line) for line in data[MT_BENCH.file].splitlines()[: self.items]]
        return [
            Item(id=f"M{row['question_id']}", prompt=row["turns"][0], body={"max_tokens": self.max_tokens}, chat=True)
            for row in rows
        ]

    def answer(self, text: str) -> str | None:  # noqa: ARG002 # nothing is scored here
        """None."""
        return None
