"""``mt_bench_direct``: the first turns of MT-Bench as chat, of a model that would think first and is told not to.

Otherwise ``mt_bench_first_turn``. What is accepted of thoughts is another number than what is accepted of answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from harness.base.domain import Item
from harness.protocols.mt_bench_turns import FirstTurnsBase


class MtBenchDirect(FirstTurnsBase):
    """``[evaluation]`` with ``protocol = "mt_bench_direct"``."""

    CHAT: ClassVar[bool] = True
    TEMPLATE: ClassVar[bool] = True

    protocol: Literal["mt_bench_direct"]

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a question."""
        body, template = {"max_tokens": self.max_tokens}, {"enable_thinking": False}
        return [
            Item(id=name, prompt=turn, body=body, chat=True, template=template)
            for name, turn in self.turns(data).items()
        ]
