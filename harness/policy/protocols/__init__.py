"""Evaluation protocols by id: which items are asked, how an answer is read, what counts as right.

One module a protocol: a ``Config`` (the ``[evaluation]`` table with its ``protocol`` id), ``items`` and ``answer``.
Two numbers are comparable only under the same id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from harness.ground.domain import Item
from harness.policy.known_answer.simulate import Request
from harness.policy.protocols import known_answer_cycle, known_answer_qa

Evaluation = Annotated[known_answer_qa.Config | known_answer_cycle.Config, Field(discriminator="protocol")]

_ANSWERS: dict[str, Callable[[str], str | None]] = {
    known_answer_qa.ID: known_answer_qa.answer,
    known_answer_cycle.ID: known_answer_cycle.answer,
}


IDS = frozenset(_ANSWERS)
"""Ids of all protocols."""


def items(evaluation: Evaluation) -> list[Item]:
    """Everything the evaluation asks, in order."""
    if isinstance(evaluation, known_answer_qa.Config):
        return known_answer_qa.items(evaluation)
    return known_answer_cycle.items(evaluation)


def requests(evaluation: Evaluation) -> list[Request]:
    """The same items as the simulator of the known-answer checkpoints takes them."""
    if isinstance(evaluation, known_answer_qa.Config):
        return known_answer_qa.requests(evaluation)
    return known_answer_cycle.requests(evaluation)


def answer(evaluation: Evaluation, text: str) -> str | None:
    """The answer that the protocol reads from a response, None if there is none."""
    return _ANSWERS[evaluation.protocol](text)
