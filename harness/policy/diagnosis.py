"""The root cause in a server's log: the line somebody would have scrolled to."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# vLLM repeats its log prefix on every line of a traceback: "(EngineCore pid=48) ERROR 11-20 20:22:53 [core.py:1510] ".
_PREFIX = re.compile(r"^(\([^)]*\)\s*)?(?:(?:ERROR|CRITICAL|FATAL)\s+\d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\]\s?)?")
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit|Failure)\b(?::\s*.*)?$")
_PROGRAM_ERROR = re.compile(r"^\S+: error: .+")
_MARKED = re.compile(r"\b(?:ERROR|CRITICAL|FATAL|panicked)\b")


_ACCESS = re.compile(r"\"(?:GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH) [^\"]*\" \d{3}\b|\bHTTP/\d(?:\.\d)?\"? \d{3}\b")
"""A line of an access log: a request and its status."""
_ORDINARY = re.compile(
    r"^\W*(?:\S+[ T]\S+ )?\W*(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING)\b|\d%[^|]{0,40}\||\w+Warning:|\[[IW]\d{4} "
)
"""A line of a log whose level is below an error, a warning of Python's or of PyTorch's, or a bar of progress."""
_TROUBLE = re.compile(
    r"error|fail|fatal|abort|kill|panic|segmentation|core dumped|terminat|corrupt|cannot|can't|could not|unable"
    r"|not found|no such|no module|not allowed|not permitted|denied|refused|rejected|invalid|illegal|unknown"
    r"|unrecognized|unsupported|not supported|out of memory|insufficient|no space|exception|already in use|missing",
    re.IGNORECASE,
)
"""A word of a line that says that something went wrong, whatever its form."""


def root_cause(log: str, echoes: Iterable[str]) -> str:
    """The last error a log reports that is not merely an echo of an earlier one; empty if it reports none.

    A line of an access log, or of plain progress, is never one.

    Args:
        log: The whole log.
        echoes: Parts of lines that only say that something above went wrong.
    """
    everything = _lines(log)
    told = [line for line in everything if not any(echo in line for echo in echoes)]
    # An echo is better than nothing: a killed worker leaves no words of its own.
    for pattern, lines in ((_EXCEPTION, told), (_PROGRAM_ERROR, told), (_EXCEPTION, everything)):
        for position in reversed(range(len(lines))):
            if pattern.search(lines[position]):
                return _with_continuation(lines, position)
    for pattern in (_MARKED, _TROUBLE):
        for position in reversed(range(len(told))):
            if pattern.search(told[position]) and not _ORDINARY.search(told[position]):
                return _with_continuation(told, position)
    return ""


def last_words(log: str) -> str:
    """The last line that a log has; what it was doing, not what went wrong."""
    lines = _lines(log)
    return " ".join(lines[-1].split())[:300] if lines else ""


def _lines(log: str) -> list[str]:
    """Lines of a log as they were meant, without those of an access log."""
    lines = [_ANSI.sub("", line).rstrip() for line in log.splitlines()]
    return [_PREFIX.sub("", line, count=1) for line in lines if line and not _ACCESS.search(line)]


def _with_continuation(lines: list[str], position: int) -> str:
    """The line and the first indented one below it: some exceptions say there what was wrong."""
    following = lines[position + 1 : position + 2]
    parts = [lines[position], *(line for line in following if line[:1].isspace())]
    return " ".join(" ".join(part.split()) for part in parts)


def tail(log: str, lines: int = 15) -> str:
    """The last ``lines`` lines."""
    return "\n".join(log.splitlines()[-lines:])
