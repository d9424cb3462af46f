"""``mt_bench_plain``: the first turns of MT-Bench as plain text, for a server that is asked for completions only.

The text is what FastChat's ``vicuna_v1.1`` template makes of a turn, without its system message, so no tokenizer and no
chat template is needed. Nothing is scored. Its numbers are not those of ``mt_bench_first_turn``, which asks through the
model's own template.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.base.domain import Item
from harness.protocols.mt_bench_turns import FirstTurnsBase

_STOP = ["USER:"]


class MtBenchPlain(FirstTurnsBase):
    """``[evaluation]`` with ``protocol = "mt_bench_plain"``."""

    protocol: Literal["mt_bench_plain"]

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a question."""
        return [
            Item(
                id=name,
                prompt=f"USER: {turn} ASSISTANT:",
                body={"max_tokens": self.max_tokens, "stop": _STOP},
                special_tokens=True,
            )
            for name, turn in self.turns(data).items()
        ]
