"""The handle by which a patch breaks a module: it does nothing while its mutant is off, and counts while it is on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine_mutants.switches import Switches

_HERE = str(Path(__file__).parent)


class Intended(RuntimeError):
    """An error that a mutant raises because raising it is what it breaks."""


class Fault:
    """What one mutant does in one process.

    Args:
        name: Of the mutant.
        switches: Of the run.
    """

    def __init__(self, name: str, switches: Switches) -> None:
        self.name, self._switches = name, switches

    @property
    def server(self) -> str:
        """Name of the server: ``server``, ``prefill``, ``decode``, or with a number behind."""
        return self._switches.server

    @property
    def on(self) -> bool:
        """Whether the mutant is in force now."""
        return self.name in self._switches.active()

    def hit(self) -> int:
        """Count that the broken path was taken; returns how often it was, in this process."""
        return self._switches.hit(self.name)

    def every(self, number: int) -> bool:
        """Count, and say whether it is the turn of this one, of each ``number``."""
        return self.hit() % number == 0

    def replace(self, owner: Any, attribute: str, broken: Callable[..., Any]) -> None:
        """Let ``owner.attribute(...)`` be ``broken(original, ...)`` while the mutant is on.

        An error that comes from the patch itself, and not from what it calls, says that the patch does not fit this
        version of the engine, and is on record as such: an engine that dies of it is no engine that was found broken.

        Raises:
            AttributeError: There is nothing of that name.
        """
        raw = vars(owner)[attribute] if isinstance(owner, type) and attribute in vars(owner) else None
        bound = type(raw) if isinstance(raw, (staticmethod, classmethod)) else None
        original = raw.__func__ if bound is not None and raw is not None else getattr(owner, attribute)

        @functools.wraps(original)
        def replaced(*arguments: Any, **named: Any) -> Any:
            if not self.on:
                return original(*arguments, **named)
            try:
                return broken(original, *arguments, **named)
            except Intended:
                raise
            except Exception as error:
                if _from_here(error):
                    self.misfit(error)
                raise

        setattr(owner, attribute, bound(replaced) if bound is not None else replaced)

    def misfit(self, error: BaseException) -> None:
        """Say that the mutant does not fit this version of the engine."""
        self._switches.misfit(self.name, f"{type(error).__name__}: {error}")


def _from_here(error: BaseException) -> bool:
    """Whether an error was raised by code of this package."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE)
