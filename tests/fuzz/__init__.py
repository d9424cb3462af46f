"""Whatever somebody or something puts in: one line and an exit code come out, never a traceback, never no end.

One module a kind of input. What a module's strategies find is shrunk by hypothesis and becomes a test of its own beside
the code it is about. A usual run tries a few examples, always the same ones; ``nox -s fuzz -- --examples 3000`` tries
that many of each test, others every time.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from hypothesis import HealthCheck, settings

EXAMPLES: int | None = None
"""What ``--examples`` says; set before a test is imported."""

_ENDLESS = 60  # seconds of this process's own: no input takes a tenth of it, however busy the machine is
_BLOCKED = 600  # seconds by the clock, for what waits and computes nothing


def examples(usual: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Settings of a test: so many examples in a usual run."""
    return settings(
        max_examples=EXAMPLES or usual,
        derandomize=EXAMPLES is None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        print_blob=EXAMPLES is not None,
    )


@contextmanager
def ends() -> Iterator[None]:
    """Fail, with where it is, if what is inside does not come to an end."""

    def endless(number: int, frame: FrameType | None) -> NoReturn:
        raise AssertionError(f"did not end: {signal.Signals(number).name} came first")

    limits = {signal.SIGVTALRM: (signal.ITIMER_VIRTUAL, _ENDLESS), signal.SIGALRM: (signal.ITIMER_REAL, _BLOCKED)}
    before = {each: signal.signal(each, endless) for each in limits}
    for timer, seconds in limits.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer, _ in limits.values():
            signal.setitimer(timer, 0)
        for each, handler in before.items():
            signal.signal(each, handler)
