"""``known_answer_cycle``: long answers that walk the table's cycle from every phase; only texts are compared."""

from __future__ import annotations

from typing import Literal

from harness.ground.domain import Item
from harness.policy.known_answer import vocabulary as v
from harness.policy.known_answer.simulate import Request, simulate
from harness.policy.known_answer.table import CYCLE
from harness.policy.protocols.base import EvaluationBase

ID: Literal["known_answer_cycle"] = "known_answer_cycle"


class Config(EvaluationBase):
    """``[evaluation]`` with ``protocol = "known_answer_cycle"``."""

    protocol: Literal["known_answer_cycle"]


def _phase(index: int) -> int:
    # 11 and 60 are coprime: 60 items start at all 60 letters.
    return CYCLE[11 * index % len(CYCLE)]


def requests(config: Config) -> list[Request]:
    """The items as the simulator takes them."""
    return [Request(_phase(index), config.max_tokens, ignore_eos=True) for index in range(config.items)]


def items(config: Config) -> list[Item]:
    """One item a phase, without a right answer."""
    prompts = [f"Say it {index} times:{v.decode([_phase(index)])}" for index in range(config.items)]
    return [
        Item(
            id=f"C{index:02d}",
            prompt=prompt,
            body={"max_tokens": config.max_tokens, "ignore_eos": True},
            expected_text=v.decode(simulate(request, 0)[0]),
            prompt_tokens=len(v.encode(prompt)),
        )
        for index, (prompt, request) in enumerate(zip(prompts, requests(config), strict=True))
    ]


def answer(_text: str) -> str | None:
    """Nothing is scored here."""
    return None
