"""The root cause in a log: the line somebody would have scrolled to.

Of all errors those count that the program did not survive, and of these the one that came first in the end that the
log has: what others said because of it comes later. Somebody who only lost a peer, or points to what stands above,
counts where nobody else says anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.base.texts import shortened
from harness.logs import phrases
from harness.logs.error_kinds import Kind
from harness.logs.log_errors import Error, errors
from harness.logs.log_lines import Line, lines

WINDOW = 1 << 20
"""Characters of the end of a log that are looked at, and as many from its first traceback on."""

_EPISODE = 60.0
"""Seconds between two errors after which the first was survived, although nothing says so."""
_NEAR = 60
"""Seconds, or lines where no line has a time, from an error to somebody who points to it."""
_SETTLED = 5.0
"""Seconds after an error until an answer shows that it was survived: what was in flight may still come."""


@dataclass(frozen=True)
class Cause:
    """A cause and where it stands.

    Attributes:
        text: In one line, without prefixes.
        line: Number of the line in the log that tells it, from 1.
    """

    text: str
    line: int


def root_cause(log: str, echoes: Iterable[str]) -> str:
    """The error that a log ends with and that is no consequence of another one; empty if it tells none.

    A line of an access log, or of plain progress, is never one.

    Args:
        log: The whole log.
        echoes: Parts of lines by which the engine only says that something above went wrong.
    """
    found = find(log, echoes)
    return found.text if found else ""


def find(log: str, echoes: Iterable[str]) -> Cause | None:
    """The same with its place; None if the log tells no error."""
    start = max(0, len(log) - WINDOW)
    start = log.find("\n", start) + 1 if start else 0
    found = _within(log, start, len(log), tuple(echoes))
    if start and (found is None or found[0] > _CLEAR):
        first = max(0, log.find("Traceback (most recent"))
        first = max(0, log.rfind("\n", 0, first)) + (1 if first else 0)
        earlier = _within(log, first, first + WINDOW, tuple(echoes))
        if earlier and (found is None or earlier[0] < found[0]):
            found = earlier
    return found[1] if found else None


def last_words(log: str) -> str:
    """The last line that a log has; what it was doing, not what went wrong."""
    end = log[-WINDOW:].split("\n")[-200:]
    said = [each.text for each in lines("\n".join(end)) if each.text.strip() and not each.is_access]
    return shortened(said[-1], 300) if said else ""


def tail(log: str, lines: int = 15) -> str:
    """The last ``lines`` lines."""
    return "\n".join(log.splitlines()[-lines:])


_CLEAR = 4
"""Ranks up to this one name a cause, and not only a consequence."""


def _within(log: str, start: int, end: int, echoes: Sequence[str]) -> tuple[int, Cause] | None:
    """Rank and cause in a part of the log."""
    said = lines(log[start:end], log.count("\n", 0, start) + 1)
    told, of_errors = errors(said, echoes)
    _mark_handled(said, told, of_errors)
    ranked = _ranked(told)
    if ranked and ranked[0] < _TROUBLE_RANK:
        rank, error = ranked
    elif (position := _trouble(said, echoes)) is not None:
        line = said[position]
        below = said[position + 1].text if position + 1 < len(said) else ""
        text = f"{line.text} {below}" if below[:1].isspace() else line.text
        return _TROUBLE_RANK, Cause(" ".join(text.split()), line.number)
    elif ranked:
        rank, error = ranked
    else:
        return None
    return rank, Cause(" ".join(error.text.split()), said[error.at].number)


_TROUBLE_RANK = 7


def _ranked(told: Sequence[Error]) -> tuple[int, Error] | None:
    """The error that most deserves to be the cause, with its rank."""
    alive = [each for each in told if not each.handled]
    by_kind = {kind: [each for each in alive if each.kind is kind] for kind in Kind}
    if fatal := _last_episode(by_kind[Kind.FATAL]):
        return 0, fatal[0]
    if by_kind[Kind.HANG]:
        return 1, by_kind[Kind.HANG][0]
    if by_kind[Kind.BARE]:
        return 2, by_kind[Kind.BARE][-1]
    if pointed := _pointed_to(told):
        return 3, pointed
    for rank, kind in ((4, Kind.MARKED), (5, Kind.SECONDARY), (6, Kind.ECHO)):
        if by_kind[kind]:
            return rank, by_kind[kind][0]
    over = [each for each in told if each.handled and each.kind not in (Kind.ECHO, Kind.SECONDARY)] or told
    return (8, over[-1]) if over else None


def _last_episode(fatal: Sequence[Error]) -> list[Error]:
    found: list[Error] = []
    before: float | None = None
    for each in fatal:
        if before is not None and each.seconds is not None and each.seconds - before > _EPISODE:
            found = []
        before = before if each.seconds is None else each.seconds
        found.append(each)
    return found


def _pointed_to(told: Sequence[Error]) -> Error | None:
    """The last error that was survived by the look of it, and that somebody points to soon after."""
    pointing: Error | None = None
    for each in reversed(told):
        if each.handled and each.kind is Kind.FATAL and pointing is not None and _is_near(each, pointing):
            return each
        if not each.handled and each.kind in (Kind.ECHO, Kind.SECONDARY):
            pointing = each
    return None


def _is_near(error: Error, pointing: Error) -> bool:
    if error.seconds is not None and pointing.seconds is not None:
        return pointing.seconds - error.seconds <= _NEAR
    return pointing.lines[0] - error.lines[1] <= _NEAR


def _mark_handled(said: Sequence[Line], told: Sequence[Error], of_errors: set[int]) -> None:
    """Say of each error whether the process that told it went on as if nothing were, or the whole program did."""
    went_on: dict[str, int] = {}
    later: list[tuple[int, float | None]] = []  # the last sign of life of anybody, of whatever kind, with its time
    well: list[tuple[int, float | None]] = []
    now: float | None = None
    for position, line in enumerate(said):
        now = line.seconds if line.seconds is not None else now
        if position in of_errors or not line.prefix:
            continue
        if phrases.WELL.search(line.text):
            well = [(position, now)]
        if _goes_on(line):
            went_on[line.source] = position
            later = [(position, now)]
    for error in told:
        end = error.lines[1]
        anybody = well if error.source else well + later
        error.handled |= went_on.get(error.source, -1) > end or any(
            position > end and (now is None or error.seconds is None or now - error.seconds >= _SETTLED)
            for position, now in anybody
        )


def _goes_on(line: Line) -> bool:
    if line.is_access:
        return phrases.ANSWERED.search(line.text) is not None
    if phrases.SURVIVED.search(line.text) and not phrases.GIVEN_UP.search(line.text):
        return True
    plain = line.level in ("INFO", "DEBUG") or (not line.level and line.seconds is not None)
    wrong = phrases.TROUBLE.search(line.text) or phrases.SHUTDOWN.search(line.text)
    return plain and bool(line.text.strip()) and not wrong


def _trouble(said: Sequence[Line], echoes: Sequence[str]) -> int | None:
    """Position of the last line that sounds like trouble, of a log without an error that looks like one."""
    for pattern in (phrases.MARKED, phrases.TROUBLE):
        for position in reversed(range(len(said))):
            line = said[position]
            if line.is_access or line.is_ordinary or not pattern.search(line.text) or phrases.IGNORED.match(line.text):
                continue
            if not phrases.PLAIN.search(line.text) and not any(echo in line.text for echo in echoes):
                return position
    return None
