"""An explanation as text of 80 columns: of one run, or of many with one entry a cause."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import wrap

from harness.base.secrets import mask
from harness.base.texts import plain, shortened
from harness.explanation.one_run import Place, Wrong, again, by_hand, places, sound, wrong_answers
from harness.explanation.red_rows import OneCause, RedPoint
from harness.reports.result import Result
from harness.run.rundir import RunDir

WIDTH = 80
_SHOWN_POINTS = 5
_SHOWN_ROWS = 8


def of_one(point: RedPoint, result: Result | None) -> str:
    """Everything about one red point, from the class to the commands."""
    return "\n".join(_one(point, result)) + "\n"


def _one(point: RedPoint, result: Result | None) -> Iterator[str]:
    first, of = point.first, point.first.of
    yield from _told(f"{point.case_id} on {point.platform}: {first.outcome}, class {of.name}")
    yield from _told(of.meaning, indent=2)
    yield ""
    yield from _field("cause", f"{first.name}: {first.text}")
    rest = [f"{row.name} ({row.outcome})" for row in point.rows[1:]]
    if rest:
        more = f" and {len(rest) - _SHOWN_ROWS} more" if len(rest) > _SHOWN_ROWS else ""
        yield from _field("red with it", ", ".join(rest[:_SHOWN_ROWS]) + more)
    rundir = RunDir(point.folder) if point.folder else None
    if rundir is not None:
        yield from _seen(rundir, point, result)
    elif first.details.strip():
        yield from _field("it says", "")
        yield from (f"  {shortened(mask(line), WIDTH - 2)}" for line in first.details.strip().split("\n")[-10:])
    yield ""
    yield from _field("next", of.step)
    yield from _command("run again", again(point, point.folder))
    for name, line in by_hand(rundir) if rundir else []:
        yield from _command(f"{name} by hand", line)
    yield from _field("read", of.page)


def _seen(rundir: RunDir, point: RedPoint, result: Result | None) -> Iterator[str]:
    found = places(rundir, point)
    yield from _stands(rundir, found[:1])
    if found[1:]:
        others = "; ".join(f"{each.log.name}:{each.line}: {shortened(each.text, 100)}" for each in found[1:])
        yield from _field("also told", others)
    yield from _wrong(wrong_answers(rundir))
    fine = list(sound(rundir, result, found))
    if fine:
        yield ""
        yield from _field("it is not", "")
        for line in fine:
            yield from _told(line, indent=2)


def _stands(rundir: RunDir, found: Sequence[Place]) -> Iterator[str]:
    for place in found:
        by = f", said by {place.source}" if place.source else ""
        yield ""
        yield from _field("it stands in", f"{place.log.relative_to(rundir.path)}, line {place.line}{by}:")
        for number, line in place.context:
            mark = ">" if number == place.line else " "
            # Masked as a whole, because half a secret does not look like one.
            yield _cut(f"{mark} {number:>6} {plain(mask(line)).replace(chr(10), ' ')}".rstrip())


def _cut(line: str) -> str:
    """A line of at most :data:`WIDTH` characters; of a message both ends say something."""
    if len(line) <= WIDTH:
        return line
    kept = WIDTH * 2 // 3
    return f"{line[:kept]} … {line[-(WIDTH - kept - 3) :]}"


def _wrong(wrong: Sequence[Wrong]) -> Iterator[str]:
    if wrong:
        yield ""
        yield from _field("first wrong answers", "")
    for each in wrong:
        for name, text in (("prompt", each.prompt), ("expected", each.expected), ("got", each.got)):
            label = f"  {each.item} {name}: " if name == "prompt" else f"    {name}: "
            yield label + shortened(plain(mask(repr(text))), WIDTH - len(label))


def _command(name: str, line: str, indent: int = 0) -> Iterator[str]:
    """A command to copy: broken between words only, each line but the last ending in a backslash."""
    first = " " * indent
    yield f"{first}{name}:"
    try:
        words = shlex.split(mask(line), posix=False)  # as they are quoted
    except ValueError:
        words = [mask(line)]
    now = f"{first} "
    for word in words:
        if len(now) + len(word) + 3 > WIDTH and now.strip():
            yield plain(f"{now} \\")
            now = f"{first}   "
        now += f" {word}"
    yield plain(now)


def _field(name: str, text: str) -> Iterator[str]:
    yield from _told(f"{name}: {text}".rstrip(), hanging=2)


def _told(text: str, indent: int = 0, hanging: int = 0) -> Iterator[str]:
    folded = plain(" ".join(mask(text).split()))
    first = " " * indent
    yield from wrap(
        folded, WIDTH, initial_indent=first, subsequent_indent=" " * (indent + hanging), break_on_hyphens=False
    )


def of_many(causes: Sequence[OneCause], looked_at: int, where: Path, unread: Iterable[str]) -> str:
    """Every cause once, with the points that it makes red."""
    return "\n".join(_many(causes, looked_at, where, unread)) + "\n"


def _many(causes: Sequence[OneCause], looked_at: int, where: Path, unread: Iterable[str]) -> Iterator[str]:
    points, rows = sum(len(each.points) for each in causes), sum(each.rows for each in causes)
    if causes:
        yield from _told(
            f"{where}: {points} of {looked_at} points are red, in {_number(rows, 'row')}, "
            f"for {_number(len(causes), 'reason')}"
        )
    else:
        yield from _told(f"{where}: nothing is red; {_number(looked_at, 'point')} looked at")
    for number, cause in enumerate(causes, 1):
        first = cause.points[0]
        yield ""
        yield from _told(
            f"{number}. {cause.of.name}: {first.first.name}: {shortened(first.first.text, 400)}", hanging=3
        )
        yield from _told(f"{_number(cause.rows, 'red row')} of {_number(len(cause.points), 'point')}:", indent=3)
        for point in cause.points[:_SHOWN_POINTS]:
            yield from _told(f"{point.case_id} on {point.platform}", indent=5)
        if len(cause.points) > _SHOWN_POINTS:
            yield from _told(f"and {len(cause.points) - _SHOWN_POINTS} more", indent=5)
        yield from _told(f"next: {cause.of.step}", indent=3, hanging=2)
        if first.folder is not None:
            yield from _command("more", shlex.join(["harness", "explain", str(first.folder)]), indent=3)
        else:
            yield from _command("run again", again(first, None), indent=3)
        yield from _told(f"read: {cause.of.page}", indent=3)
    for line in unread:
        yield ""
        yield from _told(f"not read: {line}", hanging=2)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
