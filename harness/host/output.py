"""Standard output and error that take every character, and whose reader may be gone.

What a place cannot show is spelt as in Python. A reader that has seen enough, or was never there, ends nothing and
changes no exit code: servers are to be stopped, and verdicts are in files.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast


class _Forgiving:
    """A stream that falls silent when nobody reads it any more; of errors, also when it cannot be written."""

    def __init__(self, stream: TextIO, forgiven: type[OSError]) -> None:
        self._stream = stream
        self._forgiven = forgiven

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except self._forgiven:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except self._forgiven:
            silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def silence(stream: TextIO) -> None:
    """Let nothing more come out of a stream, nor what is buffered when Python ends."""
    with Path(os.devnull).open("w") as nowhere, suppress(OSError, ValueError):
        os.dup2(nowhere.fileno(), stream.fileno())
    with suppress(OSError, ValueError):
        stream.flush()


def prepare() -> None:
    """Make both streams so, and see to it that all three there are: what is opened next would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = _prepared(sys.stdout, 1, BrokenPipeError)
    sys.stderr = _prepared(sys.stderr, 2, OSError)


def _prepared(stream: Any, number: int, forgiven: type[OSError]) -> TextIO:
    if isinstance(stream, _Forgiving):
        return cast(TextIO, stream)  # by an earlier call, as tests make
    found = stream or open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 # as long as Python runs
    if hasattr(found, "reconfigure"):
        found.reconfigure(errors="backslashreplace")
    return cast(TextIO, _Forgiving(found, forgiven))


def finish() -> None:
    """Write out what is buffered.

    Raises:
        OSError: It cannot be written, though somebody reads it: a disk is full. Nothing more is tried.
    """
    try:
        sys.stdout.flush()
    except OSError:
        silence(sys.stdout)
        raise


def in_utf8() -> None:
    """Begin again in UTF-8 where names and files would be read as ASCII: in the C locale, with Python's UTF-8 mode off.

    The process stays the same. Names with other characters could be neither shown nor recorded.
    """
    if sys.getfilesystemencoding().lower() in ("utf-8", "utf8") or sys.flags.utf8_mode or not sys.executable:
        return
    with suppress(OSError):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 # itself
