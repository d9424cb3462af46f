"""``known_answer_edges``: prompts shorter than a block, and prompts of which the decode side has cached a part or all.

The key stands in the last block, which no cache ever answers from (see :mod:`..known_answer.prefix_cache`): between
twins an answer is right only if that block travelled. What the cache held is computed by the decode twin itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.base.domain import Item, Prime
from harness.protocols import known_answer_qa
from harness.protocols.protocol import EDGE_CASES, EdgeCase, PrefixCacheBase
from known_answer import vocabulary as v
from known_answer.simulate import simulate
from known_answer.table import TABLE

ID: Literal["known_answer_edges"] = "known_answer_edges"

_REFRAIN = "and then they all went round the house once more, "
_OTHERWISE = "but not today."


class KnownAnswerEdges(PrefixCacheBase, known_answer_qa.KeysBase):
    """``[evaluation]`` with ``protocol = "known_answer_edges"``."""

    protocol: Literal["known_answer_edges"]
    block_size: int = Field(
        ge=32, le=65536, description="Tokens of a KV block: that of the engine, which prompts are made for."
    )

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
        return known_answer_qa.read(text)


def _story(key: int, tokens: int) -> str:
    """The first ``tokens`` tokens, all of them letters, of a story that is no other's from its first block on."""
    told = f"Story{key:02d}: {_REFRAIN}"
    return (told + _REFRAIN * (tokens // len(_REFRAIN)))[:tokens]


def _prompts(block: int, index: int, key: int) -> tuple[str, str]:
    """The prompt of an item and of what goes ahead of it, if anything does.

    Long ones have three blocks and the last one: whole for every other item, half of it for the rest.
    """
    kind: EdgeCase = EDGE_CASES[index % len(EDGE_CASES)]
    question = f"How many{v.decode([v.KEY + key])}?\nAnswer:"
    if kind == "short":
        return question, ""
    last = block if index // len(EDGE_CASES) % 2 == 0 else block // 2 + 2
    prompt = _story(key, 3 * block + last - len(v.encode(question))) + question
    return prompt, prompt if kind == "full" else _story(key, 2 * block) + _OTHERWISE
