"""Settings that every evaluation has."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from harness.policy.schema import Strict

Destination = Literal["entry", "prefill", "decode"]
"""``entry``: where users send requests: the router, or the only server."""


class EvaluationBase(Strict):
    """Part of ``[evaluation]`` that does not depend on the protocol."""

    items: int = Field(ge=1, description="How many items are asked; a baseline's n must agree.")
    max_tokens: int = Field(ge=1, description="Limit on the tokens of one answer.")
    concurrency: int = Field(ge=1, description="Requests in flight at once.")
    send_to: Destination = Field(description="Where requests go: the entry point, or past it straight to one role.")


class PrefixCacheBase(EvaluationBase):
    """Settings of a protocol that fills the decode side's prefix cache ahead of its items, so the order counts."""

    block_size: int = Field(ge=16, description="Tokens of a KV block: that of the engine, which prompts are made for.")

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Self:
        if self.concurrency != 1:
            raise ValueError("concurrency: must be 1, or one item finds what another left in the cache")
        return self


EdgeCase = Literal["short", "full", "partial"]
EDGE_CASES: tuple[EdgeCase, ...] = ("short", "full", "partial")
"""Items take turns: a prompt shorter than a block; one whose every full block the decode side has cached, and the
prefill side has not; one of which it has cached the first two blocks."""
