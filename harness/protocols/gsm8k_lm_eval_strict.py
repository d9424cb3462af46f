r"""``gsm8k_lm_eval_strict``: task ``gsm8k`` (version 3) of lm-eval 0.4.13 with filter ``exact_match,strict-match``.

Each question has shots of its own: one generator with seed 1234 draws them from the training file, question after
question, so the first n questions are asked the same whatever n is. The answer is what follows the first ``#### ``;
answers are compared as text, so 18.0 is not 18. lm-eval's completion requests also stop at the tokenizer's
end-of-sequence text, where an engine stops by itself.

As chat, every shot is a user turn and an assistant turn: ``simple_evaluate``'s default since lm-eval 0.4.10, which is
older than what vLLM's tests require (``requirements/test/cuda.in``: 0.4.12).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import ClassVar, Literal

from pydantic import Field

from harness.base.domain import Item
from harness.datasets import gsm8k
from harness.datasets.pinned_files import GSM8K_TEST, GSM8K_TRAIN, Dataset
from harness.protocols.protocol import EvaluationBase

_SEED = 1234  # of the shots and of the requests
_STOP = ["Question:", "</s>", "<|im_end|>"]
_ANSWER = re.compile(r"#### (-?[0-9.,]+)")
_IGNORED = [re.compile(pattern) for pattern in (",", r"\$", r"(?s).*#### ", r"\.$")]


class Gsm8kLmEvalStrict(EvaluationBase):
    """``[evaluation]`` with ``protocol = "gsm8k_lm_eval_strict"``."""

    DATASETS: ClassVar[tuple[Dataset, ...]] = (GSM8K_TRAIN, GSM8K_TEST)

    protocol: Literal["gsm8k_lm_eval_strict"]
    items: int = Field(ge=1, le=gsm8k.TEST_ROWS, description="How many test rows are asked, from the first one on.")
    shots: Literal[5, 8] = Field(description="Solved examples before each question; the task's own number is 5.")
    max_tokens: int = Field(256, ge=1, le=2**20, description="Limit on the tokens of one answer; lm-eval's own is 256.")
    chat: bool = Field(False, description="Shots and question as turns, through the engine's chat template.")

    @property
    def as_chat(self) -> bool:
        """As ``chat`` says."""
        return self.chat

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a test row, from the first one on."""
        train = gsm8k.rows(data[GSM8K_TRAIN.file])
        draw = Random(_SEED)  # reproduces lm-eval's draws
        items = []
        for index, row in enumerate(gsm8k.rows(data[GSM8K_TEST.file])[: self.items]):
            shots = draw.sample(train, self.shots)
            turns = [text for shot in shots for text in (gsm8k.question(shot), shot["answer"])]
            items.append(
                Item(
                    id=f"G{index:04d}",
                    prompt=gsm8k.question(row) if self.chat else gsm8k.solved(shots) + gsm8k.question(row),
                    body={"max_tokens": self.max_tokens, "stop": _STOP, "seed": _SEED},
                    expected=_compared(row["answer"]),
                    special_tokens=not self.chat,
                    chat=self.chat,
                    earlier=tuple(turns) if self.chat else (),
                )
            )
        return items

    def answer(self, text: str) -> str | None:
        """What follows the first ``#### ``, as lm-eval compares it; None if it holds no digit."""
        match = _ANSWER.search(text)
        compared = _compared(match[1]) if match else ""
        return compared if any(map(str.isdigit, compared)) else None


def _compared(text: str) -> str:
    """Without what the task ignores, in its order."""
    for pattern in _IGNORED:
        text = pattern.sub("", text)
    return text.lower()
