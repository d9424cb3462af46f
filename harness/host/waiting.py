"""Waiting: every tick asks whether somebody died, what is still missing, and whether there is time left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline


@dataclass  # not frozen: Python writes into an exception that passes a context manager
class TimedOut(Exception):
    """The deadline passed.

    Attributes:
        seconds: How long was waited.
        missing: What was missing at the last tick.
    """

    seconds: float
    missing: str


def until(
    missing: Callable[[], str],
    seconds: float,
    *,
    check_alive: Callable[[], None],
    on_tick: Callable[[str], None] = lambda _missing: None,
    tick: float = 0.25,
    clock: Clock = SYSTEM_CLOCK,
) -> float:
    """Wait until nothing is missing and return how long that took, in seconds.

    Args:
        missing: Returns what is missing, empty if nothing is. It must return within a second or so: the time until
            a death is noticed is one tick plus one call of it.
        seconds: The deadline.
        check_alive: Raises if whoever is waited for is dead. Asked before every ``missing``.
        on_tick: Called with what is missing.
        tick: Seconds between two questions.
        clock: For waiting.

    Raises:
        TimedOut: Something was still missing at the deadline.
    """
    deadline = Deadline(seconds, clock)
    while True:
        check_alive()
        still = missing()
        if not still:
            return deadline.elapsed
        if deadline.passed:
            raise TimedOut(deadline.elapsed, still)
        on_tick(still)
        clock.sleep(tick)
