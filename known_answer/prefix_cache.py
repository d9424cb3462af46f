"""Where a decode server's prompt tokens come from while it keeps a prefix cache and is asked one thing at a time.

Read in vLLM 0.32.0 (``kv_cache_manager.get_computed_blocks``, ``nixl/pull_scheduler.get_num_new_matched_tokens``) and
counted there:

- Only full blocks are found again, from the start of the prompt on, and never the block of the last token: that token
  has to be computed for the first answer. Of ``n`` tokens at most ``(n - 1) // block * block`` come from the cache.
- Behind the router all others come over the connector, in whole blocks: at least one block moves for every request.
- Past the router all others are computed.

Blocks that an answer fills are left out: no prompt here goes on where an answer ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ask:
    """One request as the decode server sees it.

    Attributes:
        prompt: Token ids.
        routed: It came through the router, after the prefill side had it.
        counted: It comes between the two readings of the counters.
    """

    prompt: Sequence[int]
    routed: bool
    counted: bool = True


@dataclass(frozen=True)
class Sources:
    """Prompt tokens by source, and tokens of the whole blocks that moved."""

    external: int
    local_cache_hit: int
    local_compute: int
    moved: int


def sources(asks: Iterable[Ask], block: int, *, caching: bool) -> Sources:
    """What the decode server counts over ``asks``, in order.

    Args:
        asks: Every request, also those before the counters are read.
        block: Tokens of a block.
        caching: Whether it keeps a prefix cache.
    """
    cached: set[tuple[int, ...]] = set()
    external = hit = computed = moved = 0
    for ask in asks:
        length = len(ask.prompt)
        heads = [tuple(ask.prompt[:end]) for end in range(block, length + 1, block)]
        found = 0
        while caching and found < (length - 1) // block and heads[found] in cached:
            found += 1
        cached.update(heads)
        if not ask.counted:
            continue
        rest = length - found * block
        hit += found * block
        external += rest if ask.routed else 0
        computed += 0 if ask.routed else rest
        moved += -(-rest // block) * block if ask.routed else 0
    return Sources(external, hit, computed, moved)
