"""Waiting, with a clock that does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.base.clock import Deadline
from harness.host import environments, waiting
from tests.helpers import FakeClock


def nobody_died() -> None:
    pass


def test_waits_until_nothing_is_missing() -> None:
    clock = FakeClock()
    ticks: list[str] = []
    seconds = waiting.until(
        lambda: "" if clock.now >= 2 else "the port", 10, check_alive=nobody_died, on_tick=ticks.append, clock=clock
    )
    assert seconds == 2.0
    assert ticks == ["the port"] * 8


def test_the_deadline_says_what_was_missing() -> None:
    with pytest.raises(waiting.TimedOut) as caught:
        waiting.until(lambda: "the port", 1.0, check_alive=nobody_died, clock=FakeClock())
    assert (caught.value.seconds, caught.value.missing) == (1.0, "the port")


def test_a_death_is_noticed_within_a_tick_and_before_anything_is_asked() -> None:
    clock, asked = FakeClock(), []

    def check_alive() -> None:
        if clock.now >= 1.0:
            raise RuntimeError("dead")

    def missing() -> str:
        asked.append(clock.now)
        return "the port"

    with pytest.raises(RuntimeError, match="dead"):
        waiting.until(missing, 600, check_alive=check_alive, clock=clock)
    assert clock.now <= 1.25
    assert max(asked) < 1.0


def test_what_is_ready_at_once_needs_no_tick() -> None:
    assert waiting.until(lambda: "", 0.0, check_alive=nobody_died, clock=FakeClock()) == 0.0


def test_deadline() -> None:
    clock = FakeClock()
    deadline = Deadline(5.0, clock)
    clock.sleep(3.0)
    assert (deadline.elapsed, deadline.remaining, deadline.passed) == (3.0, 2.0, False)
    clock.sleep(3.0)
    assert (deadline.remaining, deadline.passed) == (0.0, True)


@pytest.mark.parametrize("error", [waiting.TimedOut(1.0, "the port"), environments.InstallFailed(1, "no space")])
def test_an_error_passes_a_context_manager_of_pythons(error: Exception) -> None:
    """Which writes the traceback into it."""

    @contextmanager
    def block() -> Iterator[None]:
        yield

    with pytest.raises(type(error)) as caught, block():
        raise error
    assert caught.value is error
