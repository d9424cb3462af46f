"""Time as the harness sees it: durations from a monotonic clock, timestamps from the wall clock."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What anything that waits asks for the time; tests pass one that does not sleep."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point, never going back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        ...


class SystemClock:
    """The real one."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()


def utc_now() -> datetime:
    """The current wall-clock time in UTC, for timestamps only."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Deadline:
    """A point on the monotonic clock, ``seconds`` after its creation."""

    seconds: float
    clock: Clock = SYSTEM_CLOCK
    started: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "started", self.clock.monotonic())

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock.monotonic() - self.started

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.seconds - self.elapsed)

    def cut(self, seconds: float) -> float:
        """``seconds``, or what is left if that is less: the limit of one part of what has this deadline."""
        return min(seconds, self.remaining)

    @property
    def passed(self) -> bool:
        return self.elapsed >= self.seconds
