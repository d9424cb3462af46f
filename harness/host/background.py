"""Things that are found out at the same time, none of which may hold up the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from harness.base.clock import Deadline

T = TypeVar("T")


class Later(Generic[T]):
    """What a function returns, called in a thread that nobody waits for at the end.

    Deadlines of libraries do not cover everything: looking up a name, a driver that wakes its devices.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._done = threading.Event()
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:  # noqa: BLE001 # raised again where somebody asks for the result
            self._errors.append(error)
        self._done.set()

    def within(self, deadline: Deadline, otherwise: T) -> T:
        """The result, or ``otherwise`` if there is none by then; what the function raised is raised here."""
        self._done.wait(deadline.remaining)
        for error in self._errors:
            raise error
        return self._results[0] if self._results else otherwise
