"""Settings that every evaluation has."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.policy.schema import Strict

Destination = Literal["entry", "prefill", "decode"]
"""``entry``: where users send requests: the router, or the only server."""


class EvaluationBase(Strict):
    """Part of ``[evaluation]`` that does not depend on the protocol."""

    items: int = Field(ge=1, description="How many items are asked; a baseline's n must agree.")
    max_tokens: int = Field(ge=1, description="Limit on the tokens of one answer.")
    concurrency: int = Field(ge=1, description="Requests in flight at once.")
    send_to: Destination = Field(description="Where requests go: the entry point, or past it straight to one role.")
