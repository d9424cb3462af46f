"""Items to request bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.base.domain import Item
from harness.base.texts import shortened
from harness.cases.model import Case

ENDS = frozenset({"stop", "length", "tool_calls", "function_call"})
"""Finish reasons of an answer that came to its end, as the API names them. All others (``abort``, ``error``, ``load``,
and what an engine may add) are of a request that the engine gave up: its text is what there was by then, no answer."""

_MOST_TOKENS = 1 << 31


@dataclass(frozen=True)
class Completion:
    """What a ``/v1/completions`` response says.

    Attributes:
        prompt_tokens, completion_tokens: As the engine counted them.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


def read_completion(body: Any) -> Completion:
    """A response with status 200, decoded.

    Raises:
        ValueError: It is no completion: its text, its finish reason or its usage is not there, or of another type.
    """
    try:
        choice, usage = body["choices"][0], body["usage"]
        said = Completion(
            text=choice["text"],
            finish_reason=choice["finish_reason"],
            prompt_tokens=_tokens(usage["prompt_tokens"]),
            completion_tokens=_tokens(usage["completion_tokens"] or 0),
        )
        whole = isinstance(said.text, str) and isinstance(said.finish_reason, str)
    except (LookupError, TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise ValueError(f"status 200 without a completion: {shortened(str(body), 200)}")
    return said


def _tokens(number: Any) -> int:
    """A number of tokens as the engine said it.

    Raises:
        ValueError: There cannot be so many.
    """
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < _MOST_TOKENS:
        raise ValueError("no number of tokens")
    return number


def not_an_answer(finish_reason: str) -> str:
    """Why a request that ended like this has no answer; empty if it has one."""
    return "" if finish_reason in ENDS else f"finish_reason is {finish_reason!r}: the engine did not finish its answer"


def completion(case: Case, item: Item) -> dict[str, Any]:
    """Body of a ``/v1/completions`` request: greedy, with special tokens only where the item wants them.

    A prompt that may hold them already must not get them again: a second BOS changes answers and acceptance.
    """
    return {
        "model": case.serve.served_as,
        "prompt": item.prompt,
        "temperature": 0,
        "add_special_tokens": item.special_tokens,
        **item.body,
    }


def priming(case: Case, prompt: str) -> dict[str, Any]:
    """Body of a request that leaves ``prompt`` in a cache: one token is enough for that."""
    return completion(case, Item(id="", prompt=prompt, body={"max_tokens": 1}))


def chat_prompt(case: Case, item: Item) -> dict[str, Any]:
    """Body of a ``/tokenize`` request for the prompt that the engine's chat template makes of a chat item."""
    turns = [*item.earlier, item.prompt]
    roles = ("user", "assistant")
    return {
        "model": case.serve.served_as,
        "messages": [{"role": roles[index % 2], "content": text} for index, text in enumerate(turns)],
        "add_generation_prompt": True,
        "add_special_tokens": False,
        **({"chat_template_kwargs": dict(item.template)} if item.template else {}),
    }
