"""``mt_bench_first_turn``: the first turns of MT-Bench, as chat; nothing is scored, acceptance is counted.

The engine's own chat template makes the prompt, with the generation prompt and without special tokens on top: a second
beginning-of-sequence token costs about 5 % of the acceptance length (vllm-project/vllm 44234). Answers are greedy and
may end early.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from harness.base.domain import Item
from harness.protocols.mt_bench_turns import FirstTurnsBase


class MtBenchFirstTurn(FirstTurnsBase):
    """``[evaluation]`` with ``protocol = "mt_bench_first_turn"``."""

    CHAT: ClassVar[bool] = True

    protocol: Literal["mt_bench_first_turn"]

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a question."""
        body = {"max_tokens": self.max_tokens}
        return [Item(id=name, prompt=turn, body=body, chat=True) for name, turn in self.turns(data).items()]
