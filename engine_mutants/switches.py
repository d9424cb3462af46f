"""Which mutants are switched on, and what became of them: files of the run to which a server belongs.

A server of a run works in ``RUN/cwd/SERVER``. Below ``RUN/mutants`` there is

    active              names of the mutants that are on, one a line; written by whoever evaluates
    loaded/SERVER.PID   names of the mutants that a process has at hand
    hits/NAME@SERVER.PID    how often its broken path was taken, at least: the count is written at powers of two
    misfits/NAME        why a mutant does not fit this version of the engine

Processes that belong to no run, as those that are asked for the engine's options, write nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

FOLDER = "mutants"
"""In the run directory."""

_LOOK_EVERY = 0.05
"""Seconds for which the answer of the file system counts: a step of the engine asks many times."""


class Switches:
    """The files of one run, as a process of one of its servers sees them.

    Args:
        folder: Where the process works.
        static: These mutants are on, and no others ever are; None: the file says which.
    """

    def __init__(self, folder: Path, static: Iterable[str] | None = None) -> None:
        self.server = folder.name
        self._root = folder.parent.parent / FOLDER if folder.parent.name == "cwd" else None
        self._static = None if static is None else frozenset(static)
        self._looked = float("-inf")
        self._active: frozenset[str] = frozenset()
        self._counts: dict[str, int] = {}
        self._counting = threading.Lock()
        self.changes = 0
        """How often something else was found to be on than before."""

    def active(self) -> frozenset[str]:
        """Names of the mutants that are on."""
        if self._static is not None:
            return self._static
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY:
            found = frozenset(_text(self._root / "active").split()) if self._root else frozenset()
            self.changes += found != self._active
            self._looked, self._active = (
                now,
                found,
            )  # at last: another thread must not take the old answer for a new one
        return self._active

    def hit(self, name: str) -> int:
        """Count that the broken path was taken; returns how often it was in this process."""
        with self._counting:
            count = self._counts[name] = self._counts.get(name, 0) + 1
            if count & (count - 1) == 0:
                self._write(f"hits/{name}@{self.server}.{os.getpid()}", str(count))
            return count

    def loaded(self, names: Iterable[str]) -> None:
        """Say that this process has these mutants at hand."""
        self._write(f"loaded/{self.server}.{os.getpid()}", "\n".join(names))

    def misfit(self, name: str, why: str) -> None:
        """Say that a mutant does not fit."""
        self._write(f"misfits/{name}", why)

    def _write(self, name: str, text: str) -> None:
        if self._root is None:
            return
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
