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
    lines = [_ANSI.sub("", line).rstrip() for line in log.splitlines()]
    lines = [line for line in lines if line and not any(echo in line for echo in echoes)]
    bare = [_PREFIX.sub("", line, count=1) for line in lines]
    for pattern, candidates in ((_EXCEPTION, bare), (_PROGRAM_ERROR, bare), (_MARKED, lines)):
        for position in reversed(range(len(candidates))):
            if pattern.search(candidates[position]):
                return candidates[position].strip()
    return lines[-1].strip() if lines else ""


def tail(log: str, lines: int = 15) -> str:
    """The last ``lines`` lines."""
    return "\n".join(log.splitlines()[-lines:])
