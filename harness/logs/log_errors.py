"""The errors that a log tells: tracebacks with the exception they end in, crashes, panics, lines at an error's level.

Processes write at the same time, so tracebacks are put together by who said each line. Where a line has no prefix it
belongs to the record above it, as SGLang writes them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.logs import phrases
from harness.logs.error_kinds import Kind, by_form, by_words
from harness.logs.log_lines import Line

_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s+File "([^"]+)", line (\d+)(?:, in (.+))?')
_CHAINED = re.compile(r"^(?:During handling of the above exception|The above exception was the (direct cause))")
_WHAT = re.compile(r"^\s*what\(\):\s*(.*)")
_TOLD_LINES = 12
_AT = " (at "
_LED = " (which led to "
_OUTER = 200
_WHILE = " (while handling "


@dataclass
class Error:
    """One error.

    Attributes:
        kind: What it is.
        lines: That tell it, first and last: positions in the list of lines.
        at: Position of the one that says it.
        source, seconds: Of the line that it was told in.
        text: What it says, in one line.
        handled: The program has gone on after it.
    """

    kind: Kind
    lines: tuple[int, int]
    at: int
    source: str
    seconds: float | None
    text: str
    handled: bool = False


@dataclass
class _Block:
    """A traceback that is being read."""

    first: int
    prefix: str
    last: int
    seconds: float | None
    is_dropped: bool = False
    is_weak: bool = False
    is_survived: bool = False
    size: int = 1
    frame: str = ""
    exception: int | None = None
    told: list[str] = field(default_factory=list)
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
        self._speaking: dict[str, str] = {}
        """Who said the last line, by the task that a launcher names."""
        self._now: float | None = None
        self._marked: dict[int, Error] = {}
        """Lines at the level of an error, by their position."""
        self._void: set[int] = set()
        """Errors that became part of another one."""

    def read(self) -> None:
        for position, line in enumerate(self.lines):
            self._now = line.seconds if line.seconds is not None else self._now
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
            self._speaking[line.task] = source
        for source in list(self._open):
            self._close(source)
        self.errors = [each for each in self.errors if id(each) not in self._void]
        self.errors.sort(key=lambda error: error.lines[0])

    def _whose(self, line: Line) -> str:
        if line.prefix:
            return line.source
        speaking = self._speaking.get(line.task, line.task)
        if speaking in self._chained and (not line.text.strip() or _TRACEBACK in line.text):
            return speaking
        block = self._open.get(speaking)
        if block is None or _TRACEBACK in line.text:
            return line.task
        repeats = block.size > 1 and bool(self.lines[block.last].prefix)
        return line.task if repeats else speaking

    def _begin(self, position: int, line: Line, source: str) -> None:
        before = self._before.get(source, -1)
        head = self.lines[before] if 0 <= position - before <= 2 and before >= 0 else None
        heading = head.text if head is not None else ""
        # What stands right above a traceback is its heading, and no error beside it.
        if (marked := self._marked.get(before)) and _TRACEBACK not in heading:
            self._void.add(id(marked))
        block = _Block(position, line.prefix, position, self._now)
        block.is_dropped = line.is_ordinary or phrases.IGNORED.match(heading) is not None
        block.is_weak = "never retrieved" in heading or "Error in atexit" in heading
        warned = head is not None and head.level in ("WARN", "WARNING") and phrases.TROUBLE.search(heading)
        block.is_survived = bool(warned)
        if chained := self._chained.pop(source, None):
            block.led_to, block.how = chained
        self._open[source] = block

    def _continues(self, block: _Block, position: int, line: Line) -> bool:
        text = line.text
        found = self._in_frames(block, line) if block.exception is None else self._in_message(block, line)
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
                file = "/".join(frame[1].split("/")[-3:])
                block.frame = f"{file}:{frame[2]}" + (f", in {frame[3]}" if frame[3] else "")
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
        if not text.strip() and self._after(block):
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
        text = _message(block.told, block.frame)
        kind = by_words(text.partition(_AT)[0], self.echoes, Kind.FATAL)
        if block.is_weak and kind is Kind.FATAL:
            kind = Kind.SECONDARY
        error = Error(kind, (block.first, block.last), block.exception, source, block.seconds, text, block.is_survived)
        if block.led_to is not None:
            self._join(block.led_to, error, block.how)
        self.errors.append(error)
        self._last[source] = error

    def _join(self, root: Error, error: Error, how: str) -> None:
        """Make one error of two that are chained, in the second one."""
        self._void.add(id(root))
        first = root.text.partition(_WHILE)[0]
        if not phrases.LOOKED_UP.match(first) and root.kind not in (Kind.ECHO, Kind.SECONDARY):
            said = error.text.partition(_AT)[0][:_OUTER]
            led = "" if error.kind in (Kind.ECHO, Kind.SECONDARY) or _LED in root.text else f"{_LED}{said})"
            error.text, error.kind, error.at = f"{root.text}{led}", root.kind, root.at
            error.lines = (root.lines[0], error.lines[1])
        elif how == "handling" and ": " in (tried := first.partition(_AT)[0]):
            error.text = f"{error.text}{_WHILE}{tried})"

    def _alone(self, position: int, line: Line, source: str) -> None:
        """A line that stands in no traceback."""
        text = line.text.strip()
        if not text or line.is_ordinary or phrases.NEVER.search(text) or phrases.IGNORED.match(text):
            return
        if found := _CHAINED.match(text):
            if source in self._last:
                self._chained[source] = (self._last[source], found[1] or "handling")
            return
        died = phrases.DIED.search(text) is not None
        if phrases.BENIGN.search(text) and not died:
            return
        kind = by_form(line, died=died)
        if kind is None:
            return
        text, last = self._with_more(position, text)
        if not died or phrases.SECONDARY.search(text):
            kind = by_words(text, self.echoes, kind)
        self.told.update(range(position, last + 1))
        error = Error(kind, (position, last), position, source, self._now, text)
        self.errors.append(error)
        if kind is Kind.MARKED:
            self._marked[position] = error

    def _with_more(self, position: int, text: str) -> tuple[str, int]:
        """What a line says, with what stands below where that says it, and the position of the last line of it."""
        below = [each.text for each in self.lines[position + 1 : position + 4]]
        if phrases.THROWN.match(text):
            for further, each in enumerate(below, 1):
                if what := _WHAT.match(each):
                    return f"{what[1].strip()} ({text})", position + further
            return text, position
        if not below or _TRACEBACK in below[0] or _FRAME.match(below[0]) or not below[0].strip():
            return text, position
        if below[0][:1].isspace() or text.endswith(":"):
            return f"{text} {' '.join(below[0].split())}", position + 1
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
        return f"{name}{_AT}{frame})"
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
