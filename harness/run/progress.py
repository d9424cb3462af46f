"""Progress: every stage leaves its trace in ``events.jsonl`` and on the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.ground.clock import SYSTEM_CLOCK, Clock, utc_now
from harness.ground.domain import Outcome, Stage
from harness.ground.errors import CannotJudge, Interrupted
from harness.ground.secrets import mask
from harness.run.rundir import Event, RunDir

Sink = Callable[[Event], None]

_RECORD_EVERY = 1.0


class Progress:
    """Reports on one run directory.

    Args:
        rundir: Gets the lines.
        sink: Shows events to a person.
        clock: For the elapsed times.
    """

    def __init__(self, rundir: RunDir, sink: Sink, clock: Clock = SYSTEM_CLOCK) -> None:
        self._rundir = rundir
        self._sink = sink
        self._clock = clock
        self._stage = Stage.PREPARE
        self._began = clock.monotonic()
        self._recorded = 0.0

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Record how the stage in this block begins and ends. Exceptions pass through."""
        self._stage, self._began, self._recorded = stage, self._clock.monotonic(), 0.0
        self._emit(self._event("start"))
        try:
            yield
        except CannotJudge as error:
            self._end(Outcome.ERROR, str(error), error.details)
            raise
        except Interrupted as interrupt:
            self._end(Outcome.ERROR, str(interrupt))
            raise
        except BaseException as error:
            self._end(Outcome.ERROR, f"internal error: {type(error).__name__}: {error}")
            raise
        self._end(Outcome.PASS)

    def broke_off(self, stage: Stage, why: str) -> None:
        """Record that ``stage`` did not come to its end, whatever it says itself; it took until its last line."""
        elapsed = [event.elapsed for event in self._rundir.events() if event.stage is stage]
        self._stage = stage
        event = self._event("end", text=why, outcome=Outcome.ERROR)
        self._rundir.append(event.model_copy(update={"elapsed": elapsed[-1] if elapsed else 0.0}))

    def note(self, text: str) -> None:
        """Say something that stays: a decision and its reason."""
        self._emit(self._event("note", text=text))

    def tick(self, text: str, done: int = 0, total: int = 0) -> None:
        """Say what the stage is doing or waiting for; recorded about once a second, or when the last item is done."""
        now = self._clock.monotonic()
        event = self._event("progress", text=text, done=done, total=total)
        if now - self._recorded >= _RECORD_EVERY or (total and done == total):
            self._recorded = now
            self._rundir.append(event)
        self._sink(event)

    def _end(self, outcome: Outcome, text: str = "", details: str = "") -> None:
        self._emit(self._event("end", text=text, outcome=outcome, details=details))

    def _emit(self, event: Event) -> None:
        self._rundir.append(event)
        self._sink(event)

    def _event(self, kind: str, **fields: object) -> Event:
        """An event; whoever wrote its texts, no secret is in them, nor in what is made of them: result and XML."""
        elapsed = round(self._clock.monotonic() - self._began, 3)
        masked = {name: mask(value) if isinstance(value, str) else value for name, value in fields.items()}
        return Event.model_validate(
            {"time": utc_now().isoformat(), "stage": self._stage, "kind": kind, "elapsed": elapsed, **masked}
        )
