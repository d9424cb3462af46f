"""``mt_bench_first_turn``: the first turns of MT-Bench, as chat; nothing is scored, acceptance is counted.

The engine's own chat template makes the prompt, with the generation prompt and without special tokens on top: a second
beginning-of-sequence token costs about 5 % of the acceptance length (vllm-project/vllm 44234). Answers are greedy and
may end early.
"""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from harness.ground.domain import Item
from harness.policy.datasets import MT_BENCH
from harness.policy.protocols.base import EvaluationBase

ID: Literal["mt_bench_first_turn"] = "mt_bench_first_turn"
DATASETS = (MT_BENCH,)


class Config(EvaluationBase):
    """``[evaluation]`` with ``protocol = "mt_bench_first_turn"``."""

    protocol: Literal["mt_bench_first_turn"]
    items: int = Field(ge=1, le=80, description="How many of the 80 questions are asked, from the first one on.")


def items(config: Config, questions: str) -> list[Item]:
    """One item a question, in the order of the file.

    Args:
        config: The evaluation.
        questions: Text of the data file: one JSON object a line, with ``question_id`` and ``turns``.
    """
    rows = [json.loads(line) for line in questions.splitlines()[: config.items]]
    return [
        Item(id=f"M{row['question_id']}", prompt=row["turns"][0], body={"max_tokens": config.max_tokens}, chat=True)
        for row in rows
    ]


def answer(_text: str) -> str | None:
    """Nothing is scored here."""
    return None
