"""Lines of a log as records: who said it, when, at which level, and what, without the prefixes.

Engines write one file from many processes, each with a prefix of its own, and launchers, containers and schedulers put
theirs before it. Prefixes are taken off one after the other, whichever there are and in whatever order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.base.texts import without_sequences

LONGEST = 4000
"""Characters of a line that are looked at."""

_LEVEL = r"TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL"
_DATE = r"(?P<date>\d{4}-\d\d-\d\d)[ T](?P<time>\d\d:\d\d:\d\d)(?:[.,]\d+)?"
_ZONE = r"(?:Z|[+-]\d\d:?\d\d)"
_NUMBERS = "0123456789"
_PLACE = r"(?:\[[^\]]*\]|[\w./-]+:\d+\])"
_NAMED = r"(?: \[[^\]]*\]| -(?! )| [\w./-]+:\d+ --| [\w:]+(?:\{[^}]*\})?:(?= )| -)?"


def _compiled(*patterns: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Patterns, each with the characters that one of its prefixes may begin with; empty for any."""
    return tuple((re.compile(pattern), first) for first, pattern in patterns)


_OF_PROGRAMS = _compiled(
    # A process of the engine, or an actor: (Worker_TP0 pid=130), (RayWorkerWrapper pid=9, ip=10.0.0.7), (raylet)
    ("(", r"\((?P<source>(?:[A-Z]|raylet\b|[^()]*\bpid=)[^()]*)\)(?: |$)"),
    # PyTorch's own logger: [E1120 10:10:00.441603074 ProcessGroupNCCL.cpp:683]
    ("[", r"\[(?P<letter>[EFWI])(?P<day>\d{4}) (?P<time>\d\d:\d\d:\d\d)(?:\.\d+)? [^\]]*\] ?"),
    # SGLang: [2026-11-20 10:00:00 DP0 TP0]
    ("[", rf"\[{_DATE}Z?(?P<source>(?: [A-Z_]{{2,}}\d+)*)(?: (?P<level>{_LEVEL}) [\w:]+)?\] ?"),
    # UCX: [1763800000.123456] [host:44   :0]     ucp_context.c:123  UCX  ERROR
    ("[", rf"\[\d{{9,}}\.\d+\] \[[^\]]*\] +\S+ +UCX +(?P<level>{_LEVEL}) +"),
    # glog: E1122 10:00:01.000000 12 api.py:874]
    ("EFWI", r"(?P<letter>[EFWI])(?P<day>\d{4}) (?P<time>\d\d:\d\d:\d\d)\.\d+ +\d+ [^\]\s]+\] ?"),
    # vLLM: ERROR 11-20 20:22:53 [core.py:1510]
    (
        "TDINWECF",
        rf"(?P<level>{_LEVEL}) (?P<day>\d\d-\d\d) (?P<time>\d\d:\d\d:\d\d)(?:\.\d+)? {_PLACE}(?: |$)",
    ),
    # uvicorn, and logging without a format: "ERROR:    ", "ERROR:root:"
    ("TDINWECF", rf"(?P<level>{_LEVEL}):(?: +|[\w.]+:)"),
    # logging, Ray, Rust's tracing: a time, perhaps a name, a level, perhaps a place
    (_NUMBERS, rf"{_DATE}{_ZONE}?(?: +- [\w.]+ -)? +(?:- )?(?P<level>{_LEVEL})\b(?: \d+)?{_NAMED}:?(?: |$)"),
    ("", r"[\w.-]+:\d+:\d+ \[\d+\] (?:[\w./]+:\d+ )?NCCL (?P<level>INFO|TRACE) "),
)
_OF_LAUNCHERS = _compiled(
    ("[", r"\[(?P<source>(?:default)?(?:rank)?\d+)\]: ?"),  # torchrun, and PyTorch's tracebacks
    ("[", r"\[(?P<source>\d+,\d+)\]<std(?:out|err)>: ?"),  # mpirun
    (_NUMBERS, rf"{_DATE}{_ZONE}(?: std(?:out|err) [FP])?(?: |$)"),  # a container engine
    (_NUMBERS, r"(?P<source>\d{1,4}): "),  # srun --label
    ("", r"(?P<source>[\w.-]+-\d+) +\| ?"),  # compose
)
_GROUP = re.compile(r"\s*\|(?:\s|$)|\s*\+(?=[\s-])")
_RULE = re.compile(r"[\s+|-]*(?:\d+ -+)?$")
_LETTERS = {"E": "ERROR", "F": "FATAL", "W": "WARNING", "I": "INFO"}
_ACCESS = re.compile(r"\"(?:GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH) [^\"]*\" \d{3}\b|\bHTTP/\d(?:\.\d)?\"? \d{3}\b")


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        number: In the text, from 1.
        source: Which process said it, as the line says; empty where it does not.
        level: ``INFO``, ``ERROR`` …; empty where the line has none.
        seconds: When, from the beginning of a year; None where the line does not say.
        prefix: What the program itself put before it; a launcher's or a container's mark of every line is not in it.
        text: The rest, with its indentation, shortened to :data:`LONGEST` characters.
        is_access: It tells of a request and its status.
        task: The part of ``source`` that a launcher has marked every line with.
    """

    number: int
    source: str
    level: str
    seconds: float | None
    prefix: str
    text: str
    is_access: bool
    task: str = ""

    @property
    def is_ordinary(self) -> bool:
        """Whether its level is below an error."""
        return self.level in ("TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "WARNING")


def lines(text: str, first: int = 1) -> list[Line]:
    """The lines of a text that say anything, and empty ones, of which the first has the number ``first``."""
    return [_line(number, each) for number, each in enumerate(text.split("\n"), first)]


def _line(number: int, raw: str) -> Line:
    rest = raw.rstrip()[:LONGEST]
    if "\r" in rest:  # a bar of progress, over which something else was written
        rest = rest.rpartition("\r")[2]
    if not rest.isprintable():
        rest = without_sequences(rest)
    prefix, sources, tasks, level, seconds = "", [], [], "", None
    for _ in range(6):
        if found := _match(_OF_PROGRAMS, rest):
            prefix += found.group()
            named = found.groupdict()
            level = named.get("level") or _LETTERS.get(named.get("letter") or "", level)
            seconds = _seconds(named) if named.get("time") else seconds
        elif found := _match(_OF_LAUNCHERS, rest):
            named = found.groupdict()  # with another clock than the program's, or the same in another zone
            tasks.append(named.get("source") or "")
        else:
            break
        sources.append((named.get("source") or "").strip())
        rest = rest[found.end() :]
    if found := _GROUP.match(rest):
        rest = "" if _RULE.match(rest) else rest[found.end() :]
    source, task = (" ".join(dict.fromkeys(filter(None, each))) for each in (sources, tasks))
    return Line(number, source, level, seconds, prefix, rest, bool(_ACCESS.search(rest)), task)


def _match(patterns: tuple[tuple[re.Pattern[str], str], ...], text: str) -> re.Match[str] | None:
    first = text[:1]
    for pattern, starts in patterns:
        if first and (not starts or first in starts) and (found := pattern.match(text)):
            return found
    return None


def _seconds(named: dict[str, str | None]) -> float:
    """From month, day and time; a year's end in the middle of a log is nobody's."""
    day = (named.get("date") or "")[5:] or named.get("day") or ""
    digits = day.replace("-", "")
    month, of_month = (int(digits[:2]), int(digits[2:])) if digits else (0, 0)
    hours, minutes, seconds = map(int, (named["time"] or "0:0:0").split(":"))
    return ((month * 31 + of_month) * 24 + hours) * 3600.0 + minutes * 60 + seconds
