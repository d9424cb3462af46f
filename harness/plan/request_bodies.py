"""Items to requests, and what comes back to completions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from harness.base.domain import Item
from harness.base.texts import shortened
from harness.cases.model import Case
from harness.engines import ENGINES

ENDS = frozenset({"stop", "length", "tool_calls", "function_call"})
"""Finish reasons of an answer that came to its end, as the API names them. All others (``abort``, ``error``, ``load``,
and what an engine may add) are of a request that the engine gave up: its text is what there was by then, no answer."""

UNSAID = "(not said)"
"""In place of a finish reason, where a server need not give one and does not."""

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"

_MOST_TOKENS = 1 << 31
_REASONING = ("reasoning_content", "reasoning")
"""Where servers keep reasoning apart: vLLM and SGLang, then newer vLLM."""
_THOUGHT = re.compile(r"\s*(?:<think>)?(.*?)</think>\s*(.*)|\s*<think>(.*)", re.DOTALL)
"""Reasoning at the beginning of an answer. A chat template may have begun it already, and a limit may have cut it."""


@dataclass(frozen=True)
class Request:
    """One POST.

    Attributes:
        path: Below the server's address.
        body: JSON.
    """

    path: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Completion:
    """What a response says.

    Attributes:
        prompt_tokens, completion_tokens: As the server counted them; None where it need not say, and does not.
        reasoning: What was thought before, where it is kept apart.
    """

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    reasoning: str = ""


def request(case: Case, item: Item, model: str = "") -> Request:
    """How an item is asked: a chat that nobody has made a prompt of goes to the chat endpoint.

    Args:
        case: Which engine, and which endpoint.
        item: With its prompt.
        model: Name of the model; that of the case if empty.
    """
    if not item.chat:
        return Request(COMPLETIONS, completion(case, item, model))
    spoken = chat_prompt(case, item, model)
    template = {name: spoken[name] for name in ("chat_template_kwargs",) if name in spoken}
    body = {"model": spoken["model"], "messages": spoken["messages"], "temperature": 0}
    return Request(CHAT, {**body, **template, **item.body})


def read(case: Case, path: str, body: Any) -> Completion:
    """A response with status 200, decoded.

    Args:
        case: Of an engine that has OpenAI's own API and no more, the finish reason and the usage may be missing.
        path: Where it is from.
        body: JSON.

    Raises:
        ValueError: It is no completion: its text, its finish reason or its usage is not there, or of another type.
    """
    plain = ENGINES[case.engine.name].plain
    return _read_chat(body, plain=plain) if path == CHAT else read_completion(body, plain=plain)


def read_completion(body: Any, *, plain: bool = False) -> Completion:
    """A ``/v1/completions`` response with status 200, decoded.

    Raises:
        ValueError: As :func:`read`.
    """
    try:
        choice = body["choices"][0]
        said = Completion(choice["text"], *_end(body, choice, plain=plain))
        whole = isinstance(said.text, str) and isinstance(said.finish_reason, str)
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError):
        whole = False
    if not whole:
        raise ValueError(f"status 200 without a completion: {shortened(str(body), 200)}")
    return said


def _read_chat(body: Any, *, plain: bool) -> Completion:
    """A ``/v1/chat/completions`` response, with what was thought kept apart from what was said.

    Raises:
        ValueError: As :func:`read`.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        apart = next((message[name] for name in _REASONING if message.get(name)), "")
        text = message.get("content")
        # Cut off while it thought, it has said nothing yet.
        thought, text = _apart("" if text is None and apart else text)
        said = Completion(text, *_end(body, choice, plain=plain), "\n".join(filter(None, (apart, thought))))
        whole = isinstance(said.finish_reason, str)
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError):
        whole = False
    if not whole:
        raise ValueError(f"status 200 without a chat completion: {shortened(str(body), 200)}")
    return said


def _apart(text: str) -> tuple[str, str]:
    """What was thought and what was said, of a text that may begin with the one."""
    found = _THOUGHT.fullmatch(text)
    if found is None:
        return "", text
    inside, after, cut_off = found.groups()
    return (cut_off, "") if inside is None else (inside, after)


def _end(body: Any, choice: Any, *, plain: bool) -> tuple[str, int | None, int | None]:
    """Finish reason, tokens of the prompt, tokens of the answer."""
    if not plain:
        usage = body["usage"]
        return choice["finish_reason"], _tokens(usage["prompt_tokens"]), _tokens(usage["completion_tokens"] or 0)
    usage = body.get("usage") or {}
    prompt, answer = (
        None if (number := usage.get(name)) is None else _tokens(number)
        for name in ("prompt_tokens", "completion_tokens")
    )
    return choice.get("finish_reason") or UNSAID, prompt, answer


def _tokens(number: Any) -> int:
    """A number of tokens as the engine said it.

    Raises:
        ValueError: There cannot be so many.
    """
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < _MOST_TOKENS:
        raise ValueError("no number of tokens")
    return number


def not_an_answer(finish_reason: str) -> str:
    """Why a request that ended like this has no answer; empty if it has one, or if the server need not say."""
    if finish_reason in ENDS or finish_reason == UNSAID:
        return ""
    return f"finish_reason is {finish_reason!r}: the engine did not finish its answer"


def completion(case: Case, item: Item, model: str = "") -> dict[str, Any]:
    """Body of a ``/v1/completions`` request: greedy, with special tokens only where the item wants them.

    A prompt that may hold them already must not get them again: a second BOS changes answers and acceptance. OpenAI's
    own API has no word for that, and puts them around every text.
    """
    special = {} if ENGINES[case.engine.name].plain else {"add_special_tokens": item.special_tokens}
    return {
        "model": model or case.serve.served_as,
        "prompt": item.prompt,
        "temperature": 0,
        **special,
        **item.body,
    }


def priming(case: Case, prompt: str, model: str = "") -> dict[str, Any]:
    """Body of a request that leaves ``prompt`` in a cache: one token is enough for that."""
    return completion(case, Item(id="", prompt=prompt, body={"max_tokens": 1}), model)


def chat_prompt(case: Case, item: Item, model: str = "") -> dict[str, Any]:
    """Body of a ``/tokenize`` request for the prompt that the engine's chat template makes of a chat item."""
    turns = [*item.earlier, item.prompt]
    roles = ("user", "assistant")
    return {
        "model": model or case.serve.served_as,
        "messages": [{"role": roles[index % 2], "content": text} for index, text in enumerate(turns)],
        "add_generation_prompt": True,
        "add_special_tokens": False,
        **({"chat_template_kwargs": dict(item.template)} if item.template else {}),
    }
