"""A run next to a stored one of the same case, item by item."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PairedItem:
    """An item of a run and of its reference: whether it was right in each, None where nothing is scored."""

    item: str
    right_then: bool | None
    right_now: bool | None
    same_text: bool


@dataclass(frozen=True)
class Paired:
    """A run next to a stored one of the same case.

    Attributes:
        reference: Which one, in words.
        items: Those that both answered.
        alone: Items that only one of them did.
        groups_then, groups_now: Tokens and drafts of the same groups of requests in each; empty where nobody read
            counters between them.
        drafts: Whether the run drafted at all.
    """

    reference: str
    items: tuple[PairedItem, ...]
    alone: int
    groups_then: tuple[tuple[float, float], ...]
    groups_now: tuple[tuple[float, float], ...]
    drafts: bool
