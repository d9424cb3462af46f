"""``mt_bench_plain``: the first turns of MT-Bench as plain text, for a server that is asked for completions only.

The text is what FastChat's ``vicuna_v1.1`` template makes of a turn, without its system message, so no tokenizer and no
chat template is needed. Nothing is scored. Its numbers are not those of ``mt_bench_first_turn``, which asks through the
model's own template.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from harness.base.domain import Item
from harness.datasets.pinned_files import MT_BENCH, Dataset
from harness.protocols.protocol import EvaluationBase

_STOP = ["USER:"]


class MtBenchPlain(EvaluationBase):
    """``[evaluation]`` with ``protocol = "mt_bench_plain"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (MT_BENCH,)

    protocol: Literal["mt_bench_plain"]
    items: int = Field(ge=1, le=80, description="How many of the 80 questions are asked, from the first one on.")

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a question, in the order of the file."""
        rows = [json.loads(line) for line in data[MT_BENCH.file].splitlines()[: self.items]]
        return [
            Item(
                id=f"M{row['question_id']}",
                prompt=f"USER: {row['turns'][0]} ASSISTANT:",
                body={"max_tokens": self.max_tokens, "stop": _STOP},
                special_tokens=True,
            )
            for row in rows
        ]

    def answer(self, text: str) -> str | None:  # noqa: ARG002 # nothing is scored here
        """None."""
        return None
