"""What a log warns of, without what varies, and what of it nobody has called benign yet."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from importlib import resources

from harness.logs.log_lines import lines

LONGEST = 200
"""Characters of a warning that count."""

_CANDIDATE = re.compile(r"^.*(?:WARN|ERROR|CRITICAL|FATAL|Warning:|\[W\d{4} ).*$", re.MULTILINE)
_WORTH = ("WARN", "WARNING", "ERROR", "CRITICAL", "FATAL")
_HEADING = "Traceback (most recent call last)"
_OF_PYTHON = re.compile(r"\b\w+Warning: ")
_VARYING = re.compile(
    r"\w+://[^\s'\"]+"  # addresses
    r"|(?<![\w.])~?/[\w./@+~-]+|(?<![\w/])(?:[\w.-]+/){2,}[\w.-]+"  # paths
    r"|\b0x[0-9a-fA-F]+|\b(?=[0-9a-f-]*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b"  # of memory, digests, UUIDs
    r"|(?<![A-Za-z_\d])[-+]?\d[\d.,:]*(?:[eE][-+]?\d+)?"  # numbers, times, ports
)


def warnings(log: str) -> Counter[str]:
    """How often a log says each warning or error."""
    found: Counter[str] = Counter()
    for candidate in _CANDIDATE.finditer(log):
        (line,) = lines(candidate.group())
        worth = line.level in _WORTH or _OF_PYTHON.search(line.text)
        if worth and not line.is_access and line.text[:1].strip() and _HEADING not in line.text:
            found[without_what_varies(line.text)] += 1
    return found


def without_what_varies(text: str) -> str:
    """A message with ``#`` for numbers, addresses, paths and digests: the same whenever it means the same."""
    return _VARYING.sub("#", " ".join(text.split()))[:LONGEST].rstrip()


@cache
def benign(engine: str) -> frozenset[str] | None:
    """Warnings of an engine that somebody looked at and called benign; None of one whose were never looked at."""
    file = resources.files("harness.logs") / "benign" / f"{engine}.txt"
    return frozenset(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else None


def new(log: str, engine: str) -> Counter[str]:
    """Those of :func:`warnings` that are not :func:`benign`; none of an engine whose were never looked at."""
    known = benign(engine)
    if known is None:
        return Counter()
    return Counter({text: times for text, times in warnings(log).items() if text not in known})
