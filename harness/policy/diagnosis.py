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


def root_cause(log: str, echoes: Iterable[str]) -> str:
    """The last error a log reports that is not merely an echo of an earlier one; its last line if there is none.

    Args:
        log: The whole log.
        echoes: Parts of lines that only say that something above went wrong.
    """
    everything = [_ANSI.sub("", line).rstrip() for line in log.splitlines()]
    everything = [_PREFIX.sub("", line, count=1) for line in everything if line]
    told = [line for line in everything if not any(echo in line for echo in echoes)]
    # An echo is better than nothing: a killed worker leaves no words of its own.
    for pattern, lines in ((_EXCEPTION, told), (_PROGRAM_ERROR, told), (_EXCEPTION, everything), (_MARKED, told)):
        for position in reversed(range(len(lines))):
            if pattern.search(lines[position]):
                return _with_continuation(lines, position)
    return told[-1].strip() if told else ""


def _with_continuation(lines: list[str], position: int) -> str:
    """The line and the first indented one below it: some exceptions say there what was wrong."""
    following = lines[position + 1 : position + 2]
    parts = [lines[position], *(line for line in following if line[:1].isspace())]
    return " ".join(" ".join(part.split()) for part in parts)


def tail(log: str, lines: int = 15) -> str:
    """The last ``lines`` lines."""
    return "\n".join(log.splitlines()[-lines:])
