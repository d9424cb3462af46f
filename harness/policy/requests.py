"""Items to request bodies."""

from __future__ import annotations

from typing import Any

from harness.ground.domain import Item
from harness.policy.cases.model import Case


def completion(case: Case, item: Item) -> dict[str, Any]:
    """Body of a ``/v1/completions`` request: greedy, and without special tokens, so that no second BOS slips in."""
    return {
        "model": case.serve.served_as,
        "prompt": item.prompt,
        "temperature": 0,
        "add_special_tokens": False,
        **item.body,
    }
