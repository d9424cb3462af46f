"""What an engine shows of its own state: by it a check can tell that something is wrong inside, though answers come."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.engines.metrics import Counters, Metric

Infos = Mapping[str, tuple[Mapping[str, str], ...]]
"""Labels of every series of each metric that has only labels to say, by its name."""


def _none(_counted: Counters) -> list[str]:
    return []


def _unknown(_infos: Infos) -> int | None:
    return None


def _nothing(_infos: Infos) -> int:
    return 0


@dataclass(frozen=True)
class Inside:
    """The places where it shows, all of them optional.

    Attributes:
        gauges: What a server holds at the moment: ``running`` and ``waiting`` requests, and ``kv_usage``, the share of
            the KV cache that requests refer to. All must be 0, or what they were, when nothing is asked.
        seconds: That a gauge may take to tell that a server came to rest.
        every_step: Gauges are written after each step of the engine: what runs at the end of a request is in them.
        rank: Label that tells ranks of one server apart on ``/metrics``; empty if there is none.
        contradictions: What counters of one rank say of each other that cannot be, in words.
        capacity: Tokens that the KV cache of a server has room for, from what it says on ``/metrics``; None if it says
            nothing.
        cache_bytes: Bytes of the KV cache of a server that are touched only as prefixes are kept, from the same; 0 if
            few blocks are touched, or the server does not say.
        findings: Lines of a log that say that something is broken, as patterns by what they say.
        latencies: Sums and numbers of what it times itself: ``first_token_seconds`` over ``first_tokens``, and
            ``between_tokens_seconds`` over ``between_tokens``.
    """

    gauges: tuple[Metric, ...] = ()
    seconds: float = 15.0
    every_step: bool = False
    rank: str = ""
    contradictions: Callable[[Counters], list[str]] = _none
    capacity: Callable[[Infos], int | None] = _unknown
    cache_bytes: Callable[[Infos], int] = _nothing
    findings: Mapping[str, str] = field(default_factory=dict)
    latencies: tuple[Metric, ...] = ()

    def found(self, log: str) -> dict[str, int]:
        """How often a log has each of the findings; only those that it has."""
        counts = {what: len(re.findall(pattern, log)) for what, pattern in self.findings.items()}
        return {what: count for what, count in counts.items() if count}
