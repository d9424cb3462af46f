"""Evaluation protocols by id: which items are asked, how an answer is read, what counts as right.

One module a protocol: the ``[evaluation]`` table with its ``protocol`` id, which does what
:class:`.protocol.EvaluationBase` asks of it, found through the entry points of the group ``harness.protocols``. Two
numbers are comparable only under the same id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field

from harness.base import plugins
from harness.base.domain import Item
from harness.datasets.pinned_files import Dataset
from harness.protocols.protocol import EvaluationBase
from known_answer import vocabulary as v
from known_answer.simulate import Request, simulate
from known_answer.table import Table


def _protocol(name: str, found: object) -> type[EvaluationBase] | None:
    if not isinstance(found, type) or not issubclass(found, EvaluationBase):
        return None
    field = found.model_fields.get("protocol")
    return found if field is not None and get_args(field.annotation) == (name,) else None


PROTOCOLS = plugins.found("harness.protocols", _protocol, "EvaluationBase with a `protocol: Literal`")
"""Settings of every protocol by its id."""

if TYPE_CHECKING:
    Evaluation = EvaluationBase
else:
    _forms: Any = reduce(or_, PROTOCOLS.values())
    Evaluation = Annotated[_forms, Field(discriminator="protocol")] if len(PROTOCOLS) > 1 else _forms

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
    asked, table = evaluation.questions(data or {}), evaluation.ANSWERS
    known = evaluation.requests(data or {}) if table else []
    if table is None or len(known) != len(asked):
        return asked
    return [_with_its_end(*each, table) for each in zip(asked, known, strict=True)]


def _with_its_end(item: Item, request: Request, table: Table) -> Item:
    """The item, with how many tokens its known text has and why it ends.

    Engines do not agree on the reason where the end-of-sequence token is the last one that the limit allows.
    """
    tokens, _ = simulate(request, 0, table=table)
    if item.expected_text is None or v.decode(tokens) != item.expected_text:
        return item
    ended, full = v.EOS in tokens and not request.ignore_eos, len(tokens) >= request.max_tokens
    reason = None if ended and full else "stop" if ended else "length"
    return replace(item, completion_tokens=len(tokens), finish_reason=reason)


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
