"""Progress: every stage leaves its trace in ``events.jsonl`` and on the console."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.base.clock import SYSTEM_CLOCK, Clock, utc_now
from harness.base.domain import Outcome, Stage
from harness.base.errors import CannotJudge, Fault, HarnessError, Interrupted, refused
from harness.base.secrets import mask
from harness.run.rundir import Event, RunDir

Sink = Callable[[Event], None]

_RECORD_EVERY = 1.0


def words(error: BaseException) -> tuple[str, str]:
    """What the record says of an exception, and the lines below it: where it happened, if nobody expected it."""
    if isinstance(error, CannotJudge):
        return str(error), error.details
    if isinstance(error, Interrupted | HarnessError):
        return str(error), ""
    if isinstance(error, OSError):
        return words(refused(error))
    return f"internal error: {type(error).__name__}: {error}", "".join(traceback.format_exception(error))


def fault_of(error: BaseException) -> Fault:
    """Whose fault an exception is, where it says so."""
    return error.fault if isinstance(error, CannotJudge) else ""


def _kept(text: str) -> str:
    """As it can be written: no secret, and nothing that is no character, as in names of files that are no UTF-8."""
    return mask(text).encode(errors="backslashreplace").decode()


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
        self._lost: OSError | None = None

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Record how the stage in this block begins and ends. Exceptions pass through, but the operating system's.

        Raises:
            CannotJudge: The operating system refused something to the stage, or a line to this record.
        """
        self._stage, self._began, self._recorded = stage, self._clock.monotonic(), 0.0
        self._lost = None
        self._emit(self._event("start"))
        try:
            yield
            self._whole()
        except OSError as error:
            ours = refused(error)
            self._end(Outcome.ERROR, *words(ours))
            raise ours from error
        except BaseException as error:
            self._end(Outcome.ERROR, *words(error), interrupted=isinstance(error, Interrupted), fault=fault_of(error))
            raise
        self._end(Outcome.PASS)

    def broke_off(self, stage: Stage, error: BaseException) -> None:
        """Record that ``stage`` did not come to its end, whatever it says itself; it took until its last line."""
        try:
            elapsed = [event.elapsed for event in self._rundir.events() if event.stage is stage]
        except HarnessError:  # the record itself is what broke
            elapsed = []
        self._stage = stage
        text, details = words(error)
        event = self._event(
            "end",
            text=text,
            outcome=Outcome.ERROR,
            details=details,
            interrupted=isinstance(error, Interrupted),
            fault=fault_of(error),
        )
        self._append(event.model_copy(update={"elapsed": elapsed[-1] if elapsed else 0.0}))

    def note(self, text: str) -> None:
        """Say something that stays: a decision and its reason."""
        self._emit(self._event("note", text=text))

    def tick(self, text: str, done: int = 0, total: int = 0) -> None:
        """Say what the stage is doing or waiting for; recorded about once a second, or when the last item is done."""
        now = self._clock.monotonic()
        event = self._event("progress", text=text, done=done, total=total)
        if now - self._recorded >= _RECORD_EVERY or (total and done == total):
            self._recorded = now
            self._append(event)
        self._sink(event)

    def _whole(self) -> None:
        if self._lost:
            raise self._lost

    def _end(
        self, outcome: Outcome, text: str = "", details: str = "", *, interrupted: bool = False, fault: Fault = ""
    ) -> None:
        self._emit(
            self._event("end", text=text, outcome=outcome, details=details, interrupted=interrupted, fault=fault)
        )

    def _emit(self, event: Event) -> None:
        self._append(event)
        self._sink(event)

    def _append(self, event: Event) -> None:
        # A disk that is full is said when the stage ends: servers are stopped first.
        try:
            self._rundir.append(event)
        except OSError as error:
            self._lost = error

    def _event(self, kind: str, **fields: object) -> Event:
        """An event; whoever wrote its texts, no secret is in them, nor in what is made of them: result and XML."""
        elapsed = round(self._clock.monotonic() - self._began, 3)
        masked = {name: _kept(value) if isinstance(value, str) else value for name, value in fields.items()}
        return Event.model_validate(
            {"time": utc_now().isoformat(), "stage": self._stage, "kind": kind, "elapsed": elapsed, **masked}
        )
