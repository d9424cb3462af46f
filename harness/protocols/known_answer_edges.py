"""``known_answer_edges``: prompts shorter than a block, and prompts of which the decode side has cached a part or all.

The key stands in the last block, which no cache ever answers from (see :mod:`..known_answer.prefix_cache`): between
twins an answer is right only if that block travelled. What the cache held is computed by the decode twin itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.base.domain import Item, Prime
from harness.protocols.key_questions import KeysBase, read
from harness.protocols.protocol import EDGE_CASES, EdgeCase, PrefixCacheBase
from known_answer import prompts
from known_answer import vocabulary as v
from known_answer.simulate import Request, simulate
from known_answer.table import TABLE

ID: Literal["known_answer_edges"] = "known_answer_edges"

_OTHERWISE = "but not today."


class KnownAnswerEdges(PrefixCacheBase, KeysBase):
    """``[evaluation]`` with ``protocol = "known_answer_edges"``."""

    protocol: Literal["known_answer_edges"]
    block_size: int = Field(
        ge=32, le=65536, description="Tokens of a KV block: that of the engine, which prompts are made for."
    )

    def requests(self, data: Mapping[str, str]) -> list[Request]:  # noqa: ARG002 # asks from no data
        """The same items as the simulator takes them: the end of a prompt says how long its answer is."""
        asked = [_prompts(self.block_size, index, key)[0] for index, key in enumerate(self.keys)]
        return [Request(v.byte(prompt[-1]), self.max_tokens, key) for prompt, key in zip(asked, self.keys, strict=True)]

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a key; the right answer is the gold number, which the target misses for a quarter of the keys."""
        made = []
        for index, (key, request) in enumerate(zip(self.keys, self.requests(data), strict=True)):
            prompt, ahead = _prompts(self.block_size, index, key)
            item = Item(
                id=f"K{key:02d}",
                prompt=prompt,
                body={"max_tokens": self.max_tokens},
                expected=str(TABLE.gold[key]),
                expected_text=v.decode(simulate(request, 0)[0]),
                prompt_tokens=len(v.encode(prompt)),
                prime=Prime("decode", ahead) if ahead else None,
            )
            made.append(item)
        return made

    def answer(self, text: str) -> str | None:
        """The number after ``####``."""
        return read(text)


def _prompts(block: int, index: int, key: int) -> tuple[str, str]:
    """The prompt of an item and of what goes ahead of it, if anything does.

    Long ones have three blocks and the last one: whole for every other item, half of it for the rest.
    """
    kind: EdgeCase = EDGE_CASES[index % len(EDGE_CASES)]
    if kind == "short":
        return prompts.short(key), ""
    last = block if index // len(EDGE_CASES) % 2 == 0 else block // 2 + 2
    known = (3 if kind == "full" else 2) * block
    prompt = prompts.story(key, 3 * block + last, known)
    return prompt, prompt if kind == "full" else prompt[:known] + _OTHERWISE
