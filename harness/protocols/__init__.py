"""Evaluation protocols by id: which items are asked, how an answer is read, what counts as right.

One module a protocol: a ``Config``, which is the ``[evaluation]`` table with its ``protocol`` id and does what
:class:`.base.EvaluationBase` asks of it. Two numbers are comparable only under the same id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, get_args

from pydantic import Field

from harness.base.domain import Item
from harness.datasets.pinned_files import Dataset
from harness.protocols import (
    gsm8k_known_answer,
    gsm8k_lm_eval_strict,
    gsm8k_sgl_eval,
    gsm8k_sglang_few_shot,
    gsm8k_sglang_run_eval,
    gsm8k_vllm,
    known_answer_cycle,
    known_answer_edges,
    known_answer_qa,
    mt_bench_first_turn,
    prefix_edge_cases,
)
from harness.protocols.protocol import EvaluationBase
from known_answer.simulate import Request

Evaluation = Annotated[
    gsm8k_known_answer.Config
    | gsm8k_lm_eval_strict.Config
    | gsm8k_sgl_eval.Config
    | gsm8k_sglang_few_shot.Config
    | gsm8k_sglang_run_eval.Config
    | gsm8k_vllm.Config
    | known_answer_cycle.Config
    | known_answer_edges.Config
    | known_answer_qa.Config
    | mt_bench_first_turn.Config
    | prefix_edge_cases.Config,
    Field(discriminator="protocol"),
]

PROTOCOLS: dict[str, type[EvaluationBase]] = {
    get_args(config.model_fields["protocol"].annotation)[0]: config for config in get_args(get_args(Evaluation)[0])
}
"""Settings of every protocol by its id."""

IDS = frozenset(PROTOCOLS)


def datasets(evaluation: EvaluationBase) -> tuple[Dataset, ...]:
    """The data files that the evaluation asks from."""
    return evaluation.DATASETS


def items(evaluation: EvaluationBase, data: Mapping[str, str] | None = None) -> list[Item]:
    """Everything the evaluation asks, in order.

    Args:
        evaluation: What is asked.
        data: Text of each of its :func:`datasets` by file name.
    """
    return evaluation.questions(data or {})


def requests(evaluation: EvaluationBase, data: Mapping[str, str] | None = None) -> list[Request]:
    """The items as the simulator of the known-answer checkpoints takes them; empty for other protocols."""
    return evaluation.requests(data or {})


def answer(evaluation: EvaluationBase, text: str) -> str | None:
    """The answer that the protocol reads from a response, None if there is none.

    That includes what no protocol was made for: a formula nested so deep, or a number so long, that Python gives up.
    """
    try:
        return evaluation.answer(text)
    except (ArithmeticError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
