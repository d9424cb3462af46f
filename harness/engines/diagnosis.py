"""The root cause in a server's log: the line somebody would have scrolled to."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.base.texts import shortened, without_sequences

# vLLM repeats its log prefix on every line of a traceback: "(EngineCore pid=48) ERROR 11-20 20:22:53 [core.py:1510] ".
_PREFIX = re.compile(r"^(\([^)]*\)\s*)?(?:(?:ERROR|CRITICAL|FATAL)\s+\d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\]\s?)?")
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit|Failure)\b(?::\s*.*)?$")
_PROGRAM_ERROR = re.compile(r"^\S+(?: [a-z][\w-]*)?: error: .+")  # of a command's subcommand too
_SAYS_ERROR = re.compile(r"^(?:E: |ERROR:|error:|fatal:|\s*\u00d7 )|: error: |\berror\b:", re.IGNORECASE)
_STEP_NAMED = 120
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
    return shortened(lines[-1], 300) if lines else ""


def _lines(log: str) -> list[str]:
    """Lines of a log as they were meant, without those of an access log."""
    lines = [without_sequences(line).rstrip() for line in log.splitlines()]
    return [_PREFIX.sub("", line, count=1) for line in lines if line and not _ACCESS.search(line)]


def _with_continuation(lines: list[str], position: int) -> str:
    """The line and the first indented one below it: some exceptions say there what was wrong."""
    following = lines[position + 1 : position + 2]
    parts = [lines[position], *(line for line in following if line[:1].isspace())]
    return " ".join(" ".join(part.split()) for part in parts)


_STEP = re.compile(r"^#(\d+) (.*)$")
_OUTPUT = re.compile(r"^(\d+\.\d+) ?(.*)$")
_STEP_ENDED = re.compile(
    r"^(?:process|executor failed running) (.*?)(?: did not complete successfully)?: exit code: (\d+)$"
)
_NO_WORDS = re.compile(r"^(?:\[notice\]|WARNING:|debconf:|Selecting previously|\+ )")
_SAID_LINES = 3


def build_cause(output: str) -> str:
    """Why a build ended, from what BuildKit printed with plain progress: what the step that failed said last itself.

    Empty if no step failed. Source: outputs of Docker 20.10 (``executor failed running [...]: exit code: 1``) and of
    buildx 0.8 to 0.23 (``process "..." did not complete successfully: exit code: 1``).
    """
    steps: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    failed, error = "", ""
    for line in output.splitlines():
        if not (found := _STEP.match(line)):
            continue
        number, said = found.groups()
        if said.startswith("ERROR: "):
            failed, error = number, said.removeprefix("ERROR: ").strip()
        elif written := _OUTPUT.match(said):
            steps.setdefault(number, []).append(written[2])
        elif said.startswith("["):
            names[number] = said
    ended = _STEP_ENDED.match(error)
    if not failed or not ended:
        return error  # of the builder itself: an image that is not there, a file that is missing
    where = f"{' '.join(names.get(failed, 'a step').split())} ended with status {ended[2]}"
    said = _last_words(steps.get(failed, []))
    return f"{said} ({shortened(where, _STEP_NAMED)})" if said else shortened(where, _STEP_NAMED)


def _last_words(lines: list[str]) -> str:
    """The error that a step's output ends with; without one its last lines."""
    told = [line.rstrip() for line in map(without_sequences, lines) if line.strip() and not _NO_WORDS.match(line)]
    for position in reversed(range(len(told))):
        if _EXCEPTION.search(told[position]) or _SAYS_ERROR.search(told[position]):
            return "; ".join(" ".join(line.split()) for line in told[position : position + _SAID_LINES])
    return "; ".join(" ".join(line.split()) for line in told[-_SAID_LINES:])


def tail(log: str, lines: int = 15) -> str:
    """The last ``lines`` lines."""
    return "\n".join(log.splitlines()[-lines:])
