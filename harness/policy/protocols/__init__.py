"""Evaluation protocols by id: which items are asked, how an answer is read, what counts as right.

One module a protocol: a ``Config`` (the ``[evaluation]`` table with its ``protocol`` id), ``items`` and ``answer``, and
``DATASETS`` where it asks from public data. Two numbers are comparable only under the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field

from harness.ground.domain import Item
from harness.policy.datasets import Dataset
from harness.policy.known_answer.simulate import Request
from harness.policy.protocols import (
    known_answer_cycle,
    known_answer_edges,
    known_answer_qa,
    mt_bench_first_turn,
    prefix_edge_cases,
)

Evaluation = Annotated[
    known_answer_qa.Config
    | known_answer_cycle.Config
    | known_answer_edges.Config
    | mt_bench_first_turn.Config
    | prefix_edge_cases.Config,
    Field(discriminator="protocol"),
]

_ANSWERS: dict[str, Callable[[str], str | None]] = {
    known_answer_qa.ID: known_answer_qa.answer,
    known_answer_cycle.ID: known_answer_cycle.answer,
    known_answer_edges.ID: known_answer_edges.answer,
    prefix_edge_cases.ID: prefix_edge_cases.answer,
    mt_bench_first_turn.ID: mt_bench_first_turn.answer,
}


IDS = frozenset(_ANSWERS)
"""Ids of all protocols."""


def datasets(evaluation: Evaluation) -> tuple[Dataset, ...]:
    """The data files that the evaluation asks from."""
    return mt_bench_first_turn.DATASETS if isinstance(evaluation, mt_bench_first_turn.Config) else ()


def items(evaluation: Evaluation, data: Mapping[str, str] | None = None) -> list[Item]:
    """Everything the evaluation asks, in order.

    Args:
        evaluation: What is asked.
        data: Text of each of its :func:`datasets` by file name.
    """
    if isinstance(evaluation, known_answer_qa.Config):
        return known_answer_qa.items(evaluation)
    if isinstance(evaluation, known_answer_cycle.Config):
        return known_answer_cycle.items(evaluation)
    if isinstance(evaluation, known_answer_edges.Config):
        return known_answer_edges.items(evaluation)
    if isinstance(evaluation, prefix_edge_cases.Config):
        return prefix_edge_cases.items(evaluation)
    texts = [(data or {})[dataset.file] for dataset in datasets(evaluation)]
    return mt_bench_first_turn.items(evaluation, *texts)


def requests(evaluation: Evaluation) -> list[Request]:
    """The items as the simulator of the known-answer checkpoints takes them; empty for other protocols."""
    if isinstance(evaluation, known_answer_qa.Config):
        return known_answer_qa.requests(evaluation)
    if isinstance(evaluation, known_answer_cycle.Config):
        return known_answer_cycle.requests(evaluation)
    if isinstance(evaluation, known_answer_edges.Config):
        return known_answer_edges.requests(evaluation)
    return []


def answer(evaluation: Evaluation, text: str) -> str | None:
    """The answer that the protocol reads from a response, None if there is none."""
    return _ANSWERS[evaluation.protocol](text)
