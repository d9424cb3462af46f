"""What kinds of errors there are, and how one is told from another."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from harness.logs import phrases
from harness.logs.log_lines import Line


class Kind(Enum):
    """What an error is, which says how near to the cause it may be."""

    FATAL = auto()
    """An exception or a crash, or a process that is gone."""
    HANG = auto()
    BARE = auto()
    """An exception that somebody mentions, without a traceback."""
    MARKED = auto()
    """A line at the level of an error, without an exception."""
    SECONDARY = auto()
    ECHO = auto()


def by_words(text: str, echoes: Iterable[str], otherwise: Kind) -> Kind:
    """The kind of an error that says this; ``otherwise`` if it says nothing of others."""
    if any(echo in text for echo in echoes):
        return Kind.ECHO
    told = ((phrases.SECONDARY, Kind.SECONDARY), (phrases.ECHO, Kind.ECHO), (phrases.HANG, Kind.HANG))
    return next((kind for pattern, kind in told if pattern.search(text)), otherwise)


def by_form(line: Line, *, died: bool) -> Kind | None:
    """The kind of a line that stands in no traceback; None if it is no error.

    Args:
        line: The line.
        died: It says that a process is gone.
    """
    text = line.text
    if text[:1].isspace():
        return None
    sure = (phrases.PANIC, phrases.THROWN, phrases.PROGRAM_ERROR)
    if died or phrases.CRASH.search(text) or any(each.match(text) for each in sure):
        return Kind.FATAL
    if phrases.HANG.search(text):
        return Kind.HANG
    if phrases.EXCEPTION.match(text):
        return Kind.FATAL if line.level else Kind.BARE
    if line.level:
        return Kind.FATAL if phrases.DECISIVE.search(text) else Kind.MARKED
    return None
