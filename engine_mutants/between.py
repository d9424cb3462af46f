"""What is done to an engine between two mutants that are switched, so that each meets it as it was started."""

from __future__ import annotations

from typing import Any

from engine_mutants.switches import Switches


def _forget_prefixes(found: Any, switches: Switches) -> None:
    """Empty the prefix cache before the first step after a switch: what one mutant computed answers for no other."""
    original = found.Scheduler.schedule
    seen = switches.changes

    def schedule(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal seen
        switches.active()
        # Blocks that wait to be fetched are not free yet: then it is tried again.
        if switches.changes != seen and not self.running and self.kv_cache_manager.reset_prefix_cache():
            seen = switches.changes
        return original(self, *arguments, **named)

    found.Scheduler.schedule = schedule


ALWAYS = (("vllm.v1.core.sched.scheduler", _forget_prefixes),)
