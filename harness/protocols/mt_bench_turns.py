"""What protocols have in common that ask the first turns of MT-Bench: the questions, and that nothing is scored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from harness.datasets.pinned_files import MT_BENCH, Dataset
from harness.protocols.protocol import EvaluationBase


class FirstTurnsBase(EvaluationBase):
    """Settings of such a protocol."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (MT_BENCH,)

    items: int = Field(ge=1, le=80, description="How many of the 80 questions are asked, from the first one on.")

    def turns(self, data: Mapping[str, str]) -> dict[str, str]:
        """The first turn of each question by the item's id, in the order of the file: one JSON object a line."""
        rows = [json.loads(line) for line in data[MT_BENCH.file].splitlines()[: self.items]]
        return {f"M{row['question_id']}": row["turns"][0] for row in rows}

    def answer(self, text: str) -> str | None:  # noqa: ARG002 # nothing is scored here
        """None."""
        return None
