"""The errors that a log tells: tracebacks with the exception they end in, crashes, panics, lines at an error's level.

Processes write at the same time, so tracebacks are put together by who said each line. Where a line has no prefix it
belongs to the record above it, as SGLang writes them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from harness.logs import phrases
from harness.logs.log_lines import Line

_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s+File "([^"]+)", line (\d+)(?:, in (.+))?')
_CHAINED = re.compile(r"^(?:During handling of the above exception|The above exception was the (direct cause))")
_PANIC = re.compile(r"^thread '[^']*'.* panicked at ")
_THROWN = re.compile(r"^terminate called (?:after throwing|recursively|without)")
_WHAT = re.compile(r"^\s*what\(\):\s*(.*)")
_TOLD_LINES = 12
_WHILE = " (while handling "


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


@dataclass
class Error:
    """One error.

    Attributes:
        kind: What it is.
        lines: That tell it, first and last: positions in the list of lines.
        source, seconds: Of the line that it was told in.
        text: What it says, in one line.
        handled: The program has gone on after it.
    """

    kind: Kind
    lines: tuple[int, int]
    source: str
    seconds: float | None
    text: str
    handled: bool = False


@dataclass
class _Block:
    """A traceback that is being read."""

    first: int
    prefix: str
    level: str
    is_dropped: bool
    is_weak: bool
    size: int = 1
    frame: str = ""
    exception: int | None = None
    told: list[str] = field(default_factory=list)
    last: int = 0
    led_to: Error | None = None
    how: str = ""


class _Reader:
    """Goes through the lines once."""

    def __init__(self, lines: Sequence[Line], echoes: Sequence[str]) -> None:
        self.lines, self.echoes = lines, echoes
        self.errors: list[Error] = []
        self.told: set[int] = set()
        """Positions of lines that belong to an error."""
        self._open: dict[str, _Block] = {}
        self._before: dict[str, int] = {}
        """Where each source said its last line."""
        self._chained: dict[str, tuple[Error, str]] = {}
        self._last: dict[str, Error] = {}
        self._speaking = ""

    def read(self) -> None:
        for position, line in enumerate(self.lines):
            if line.is_access:
                continue
            source = self._whose(line)
            block = self._open.get(source)
            if _TRACEBACK in line.text:
                self._close(source)
                self._begin(position, line, source)
            elif block is None or not self._continues(block, position, line):
                if block is not None:
                    self._close(source)
                self._alone(position, line, source)
            if line.text.strip():
                self._before[source] = position
            self._speaking = source
        for source in list(self._open):
            self._close(source)
        self.errors.sort(key=lambda error: error.lines[0])

    def _whose(self, line: Line) -> str:
        if line.prefix:
            return line.source
        if self._chained and (not line.text.strip() or _TRACEBACK in line.text):
            return next(reversed(self._chained))
        block = self._open.get(self._speaking)
        if block is None or _TRACEBACK in line.text:
            return ""
        repeats = block.size > 1 and bool(self.lines[block.last].prefix)
        return "" if repeats and self._speaking else self._speaking

    def _begin(self, position: int, line: Line, source: str) -> None:
        head = self.lines[before] if (before := self._before.get(source, -1)) >= 0 else None
        near = head is not None and position - before <= 2
        heading = head.text if head is not None and near else ""
        if head is not None and near and head.text and not _TRACEBACK in head.text:
            self._unmark(before)
        level = line.level or (head.level if head is not None and near else "")
        ordinary = level in ("WARN", "WARNING", "INFO", "DEBUG")
        dropped = bool(phrases.IGNORED.match(heading)) or ordinary
        weak = "never retrieved" in heading or "Error in atexit" in heading
        block = _Block(position, line.prefix, line.level, dropped, weak, last=position)
        if chained := self._chained.pop(source, None):
            block.led_to, block.how = chained
        self._open[source] = block

    def _unmark(self, position: int) -> None:
        """What stands right above a traceback is its heading, and no error beside it."""
        self.errors = [
            each for each in self.errors if each.lines != (position, position) or each.kind is not Kind.MARKED
        ]

    def _continues(self, block: _Block, position: int, line: Line) -> bool:
        text = line.text
        if block.exception is None:
            found = self._in_frames(block, line)
        else:
            found = self._in_message(block, line)
        if found:
            block.size += 1
            block.last = position
            if block.exception is None and text.strip() and not text[:1].isspace():
                block.exception = position
                block.told = [text.strip()]
        return found

    def _in_frames(self, block: _Block, line: Line) -> bool:
        text = line.text
        if not text.strip() or text[:1].isspace():
            if frame := _FRAME.match(text):
                block.frame = f"{frame[1]}:{frame[2]}" + (f", in {frame[3]}" if frame[3] else "")
            elif block.frame and ": " not in block.frame and set(text.strip()) - set("^~"):
                block.frame += f": {text.strip()}"
            return True
        return bool(phrases.OF_TRACEBACK.match(text))

    def _in_message(self, block: _Block, line: Line) -> bool:
        text = line.text
        if _FRAME.match(text) and not block.is_dropped:  # of what Ray wrapped: its traceback goes on
            block.exception, block.told, block.frame = None, [], ""
            return self._in_frames(block, line)
        same = line.prefix == block.prefix if line.prefix else block.size > 1 and not self.lines[block.last].prefix
        if not line.prefix and not block.prefix:
            same = True
        if not same or len(block.told) > _TOLD_LINES or _CHAINED.match(text) or phrases.IGNORED.match(text):
            return False
        if not text[:1].isspace() and (phrases.CRASH.search(text) or text.startswith("Process ")):
            return False
        if not text.strip() and self._after(block) :
            return False
        if text.strip():
            block.told.append(text if text[:1].isspace() else text.strip())
        return True

    def _after(self, block: _Block) -> bool:
        """Whether an empty line ends the message: not where it has said nothing yet."""
        return not block.prefix and len(block.told) > 1

    def _close(self, source: str) -> None:
        block = self._open.pop(source, None)
        if block is None:
            return
        self.told.update(range(block.first, block.last + 1))
        if block.exception is None or block.is_dropped:
            return
        line = self.lines[block.exception]
        text = _message(block.told, block.frame)
        kind = self._kind(text.partition(" (/")[0], Kind.FATAL)
        if block.is_weak and kind is Kind.FATAL:
            kind = Kind.SECONDARY
        error = Error(kind, (block.first, block.last), source, line.seconds, text)
        if block.led_to is not None:
            self._join(block.led_to, error, block.how)
        self.errors.append(error)
        self._last[source] = error

    def _join(self, root: Error, error: Error, how: str) -> None:
        """Make one error of two that are chained, in the second one."""
        if root in self.errors:
            self.errors.remove(root)
        first = root.text.partition(_WHILE)[0]
        if not phrases.LOOKED_UP.match(first) and root.kind not in (Kind.ECHO, Kind.SECONDARY):
            error.text, error.kind, error.lines = root.text, root.kind, (root.lines[0], error.lines[1])
        elif how == "handling":
            error.text = f"{error.text}{_WHILE}{first})"

    def _kind(self, text: str, otherwise: Kind) -> Kind:
        if any(echo in text for echo in self.echoes):
            return Kind.ECHO
        for pattern, kind in (
            (phrases.SECONDARY, Kind.SECONDARY),
            (phrases.ECHO, Kind.ECHO),
            (phrases.HANG, Kind.HANG),
        ):
            if pattern.search(text):
                return kind
        return otherwise

    def _alone(self, position: int, line: Line, source: str) -> None:
        text = line.text.strip()
        if not text or line.is_ordinary or phrases.NEVER.search(text):
            return
        if found := _CHAINED.match(text):
            if source in self._last:
                self._chained[source] = (self._last[source], found[1] or "handling")
            return
        if phrases.BENIGN.search(text) and not phrases.DIED.search(text) or phrases.IGNORED.match(text):
            return
        last = position
        if _PANIC.match(text) or _THROWN.match(text):
            text, last = self._following(position, text)
            kind: Kind | None = Kind.FATAL
        elif phrases.CRASH.search(text) or phrases.DIED.search(text) or phrases.PROGRAM_ERROR.match(text):
            kind = Kind.FATAL if not line.text[:1].isspace() else None
        elif line.text[:1].isspace():
            return
        elif phrases.HANG.search(text):
            kind = Kind.HANG
        elif phrases.EXCEPTION.match(text):
            kind = Kind.FATAL if line.level else Kind.BARE
            text, last = self._with_indented(position, text)
        elif line.level:
            kind = Kind.FATAL if phrases.DECISIVE.search(text) else Kind.MARKED
            text, last = self._with_indented(position, text)
        else:
            kind = None
        if kind is not None:
            self.told.update(range(position, last + 1))
            died = phrases.DIED.search(text) and not phrases.SECONDARY.search(text)
            found_kind = kind if died else self._kind(text, kind)
            self.errors.append(Error(found_kind, (position, last), source, line.seconds, text))

    def _following(self, position: int, text: str) -> tuple[str, int]:
        """A panic or a thrown object with what it says, which stands below."""
        for at in range(position + 1, min(position + 4, len(self.lines))):
            below = self.lines[at].text
            if what := _WHAT.match(below):
                return f"{what[1].strip()} ({text})", at
            if below.strip() and _PANIC.match(text):
                return (f"{text} {below.strip()}", at) if text.endswith(":") else (text, position)
        return text, position

    def _with_indented(self, position: int, text: str) -> tuple[str, int]:
        at = position + 1
        below = self.lines[at].text if at < len(self.lines) else ""
        deeper = below[:1].isspace() and below.strip() and not _FRAME.match(below)
        if deeper or (text.endswith(":") and below.strip() and _TRACEBACK not in below):
            return f"{text} {' '.join(below.split())}", at
        return text, position


def _message(told: Sequence[str], frame: str) -> str:
    """What an exception says, in one line: with the lines below where the first one does not say it."""
    first, below = told[0], told[1:]
    for number, each in enumerate(below[:-1]):
        if phrases.POINTER.match(each.strip()):
            return f"{below[number + 1].strip()} ({first})"
    if "validation error" in first:
        below = [each for each in below if "For further information" not in each]
        return " ".join(" ".join(each.split()) for each in [first, *below[:2]])
    if below and (first.endswith(":") or ":" not in first or below[0][:1].isspace()):
        return " ".join(" ".join(each.split()) for each in [first, below[0]])
    name, _, said = first.partition(":")
    if not said.strip() and frame:
        return f"{name} ({frame})"
    return " ".join(first.split())


def errors(lines: Sequence[Line], echoes: Sequence[str]) -> tuple[list[Error], set[int]]:
    """Errors in the order in which they were told, and the positions of all lines that tell one.

    Args:
        lines: Of the log.
        echoes: Parts of lines by which the engine only says that something above went wrong.
    """
    reader = _Reader(lines, echoes)
    reader.read()
    return reader.errors, reader.told
