"""Items to request bodies."""

from __future__ import annotations

from typing import Any

from harness.ground.domain import Item
from harness.policy.cases.model import Case


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
