"""What a person sees: one live line on a terminal, plain lines everywhere else, and a table at the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import rich.box
import rich.console
import rich.live
import rich.markup
import rich.status
import rich.table

from harness.base.domain import CheckResult, Outcome
from harness.base.secrets import mask
from harness.base.texts import one_line, plain, say
from harness.checks.measuring import MEASURED_ONLY
from harness.reports.numbers import message, shown
from harness.reports.result import NOT_GREEN, Result
from harness.run.rundir import Event

_PLAIN_EVERY = 5.0
_PLAIN_WIDTH = 200  # nobody's log is 80 columns wide, and folded numbers cannot be searched for
_NUMBERS = ("measured", "interval", "expected", "bound")
_COLOURS = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.ERROR: "magenta",
    Outcome.SKIPPED: "yellow",
    Outcome.MEASURED: "cyan",
    Outcome.INCONCLUSIVE: "magenta",
}


class _Output:
    """Standard output that falls silent when it can be written no more: its reader gone, its terminal, its disk full.

    The verdict is in the files, and servers are to be stopped. Rich would exit, with the code of a failed check.
    """

    def __init__(self) -> None:
        self._stream = sys.stdout  # a live line puts something else there for a while

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._silence()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def _silence(self) -> None:
        # What is buffered goes there too, when Python ends.
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


class Console:
    """Shows events and results."""

    def __init__(self, console: rich.console.Console | None = None) -> None:
        self._console = console or rich.console.Console(file=cast(IO[str], _Output()), highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            self._console.width = _PLAIN_WIDTH
        self._status: rich.status.Status | None = None
        self._overview: rich.live.Live | None = None
        self._last_time = 0.0

    @property
    def is_terminal(self) -> bool:
        """Whether what is shown can change."""
        return self._console.is_terminal

    def line(self, text: str) -> None:
        """One line for good."""
        self._console.print(_escaped(text))

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """What is said in this block belongs together; the log of a CI system can fold it."""
        self.clear()
        begin, end = _marks(plain(mask(title)).replace("\n", " "))
        self._console.file.write(begin)
        self._console.file.flush()
        try:
            yield
        finally:
            self.clear()
            self._console.file.write(end)
            self._console.file.flush()

    @staticmethod
    def path(path: Path) -> Path:
        """A path as short as it can be said from here."""
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

    def show(self, event: Event) -> None:
        """Show an event: a stage's end for good, progress for the moment."""
        counted = f" {event.done}/{event.total}" if event.total else ""
        text = f"{event.stage:<11} {event.elapsed:6.1f} s {counted} {event.text}".rstrip()
        if event.kind in ("end", "note"):
            self.clear()
            self.line(f"{text} {event.outcome or ''}".rstrip())
        elif self._console.is_terminal:
            self._live(text)
        elif event.kind == "progress":
            self._plain(text)

    def overview(self, title: str, rows: Sequence[Sequence[str]]) -> None:
        """On a terminal, a table for the moment, in the place of the last one."""
        table = rich.table.Table(box=None, title=_escaped(title), title_justify="left", show_header=False)
        for row in rows:
            table.add_row(*map(_escaped, row))
        for column in table.columns:
            column.no_wrap, column.overflow = True, "ellipsis"
        if self._overview is None:
            self._overview = rich.live.Live(console=self._console, transient=True, auto_refresh=False)
            self._overview.start()
        self._overview.update(table, refresh=True)

    def _live(self, text: str) -> None:
        width = self._console.width - 4
        if self._status is None:
            self._status = self._console.status("")
            self._status.start()
        self._status.update(_escaped(text[:width]))

    def _plain(self, text: str) -> None:
        # A log needs a sign of life now and then, not every tick.
        now = time.monotonic()
        if now - self._last_time >= _PLAIN_EVERY:
            self._last_time = now
            self.line(text)

    def clear(self) -> None:
        """Take away what is shown for the moment."""
        if self._status is not None:
            self._status.stop()
        if self._overview is not None:
            self._overview.stop()
        self._status = self._overview = None

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table of texts."""
        self.clear()
        table = rich.table.Table(box=rich.box.SIMPLE, title=_escaped(title), title_justify="left")
        for name in header:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*map(_escaped, row))
        self._console.print(table)

    def result(self, result: Result) -> None:
        """The table of one case."""
        self.clear()
        table = rich.table.Table(
            box=rich.box.SIMPLE,
            title=_escaped(f"{result.case_id} on {result.platform}"),
            title_justify="left",
        )
        for name in ("check", "outcome", *_NUMBERS):
            # Numbers by name are long: they go over several lines rather than take the others' place.
            table.add_column(name, overflow="fold", no_wrap=name in ("check", "outcome"))
        table.add_column("n", justify="right")
        table.add_column("detects", no_wrap=True)
        unjudged = [check for check in result.checks if check.outcome is Outcome.SKIPPED]
        judged = [check for check in result.checks if check.outcome is not Outcome.SKIPPED]
        for check in judged:
            colour = _COLOURS[check.outcome]
            found = shown(check)
            escaped = [_escaped(found.get(key, "")) for key in (*_NUMBERS, "n", "detects")]
            table.add_row(_escaped(check.name), f"[{colour}]{check.outcome}[/]", *escaped)
        if judged:
            self._console.print(table)
        for reason, names in _by_reason(unjudged).items():
            told = f"{len(names)} checks {reason} ({', '.join(names)})"
            self.line(f"{names[0]}: {reason}" if len(names) == 1 else told)
        for said in (check.details for check in judged if check.name == "validity" and check.details):
            self.line(f"validity: {said}")
        if result.outcome is Outcome.MEASURED:
            self.line(_not_judged(result))
        for name, what in _remarks(result):
            self.line(f"{name}: {what}")
        for name, why in problems(result):
            self.line(f"{name}: {why}")
        for line in _background(result):
            self.line(line)
        colour = _COLOURS[result.outcome]
        name = _escaped(result.case_id)
        self._console.print(f"[bold {colour}]{result.outcome}[/] {name} ({result.timing.total:.0f} s)")


def _marks(title: str) -> tuple[str, str]:
    """What begins and ends a part of a log that can be folded: as GitHub and GitLab read it, elsewhere its title."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return f"::group::{title}\n", "::endgroup::\n"
    if os.environ.get("GITLAB_CI") == "true":
        now = time.time_ns()
        name, seconds = f"point_{now}", now // 1_000_000_000
        return (
            f"\x1b[0Ksection_start:{seconds}:{name}\r\x1b[0K{title}\n",
            f"\x1b[0Ksection_end:{time.time():.0f}:{name}\r\x1b[0K\n",
        )
    return f"{title}\n", ""


def _not_judged(result: Result) -> str:
    """What was measured and not judged, where other checks were."""
    measured = [check for check in result.checks if check.outcome is Outcome.MEASURED]
    if all(check.message == MEASURED_ONLY for check in measured):
        return "measured only: nothing was judged"
    names = [check.name for check in measured]
    return f"not green, because these have no baseline that gates: {', '.join(names)}; harness calibrate makes one"


def _by_reason(checks: list[CheckResult]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for check in checks:
        found.setdefault(check.message, []).append(check.name)
    return found


def _escaped(text: str) -> str:
    """Somebody else's text as one line: no secret, and nothing that a terminal, a CI system or rich obeys."""
    return rich.markup.escape(plain(mask(text)).replace("\n", " "))


def _remarks(result: Result) -> list[tuple[str, str]]:
    """What checks say that passed: what they did not see."""
    return [(check.name, check.message) for check in result.checks if check.outcome is Outcome.PASS and check.message]


def _background(result: Result) -> list[str]:
    """What devices and servers did meanwhile, and what of it nobody has pinned."""
    known = result.provenance.items()
    found = [f"{name.removeprefix('telemetry.')}: {said}" for name, said in known if name.startswith("telemetry.")]
    return [*found, *(f"{name}: {said}" for name, said in known if name == "unpinned")]


def problems(result: Result) -> list[tuple[str, str]]:
    """Stages that broke and checks that are not green, each with the reason."""
    broken = [(str(record.stage), record.message) for record in result.stages if record.outcome in NOT_GREEN]
    return broken + [(check.name, message(check)) for check in result.checks if check.outcome in NOT_GREEN]


class BriefConsole(Console):
    """Of each case one line and what is wrong with it, for whoever runs it many times and says more at the end."""

    def result(self, result: Result) -> None:
        self.clear()
        for name, why in problems(result):
            self.line(f"{name}: {why}")
        self.line(f"{result.outcome} {result.case_id} ({result.timing.total:.0f} s)")


class QuietConsole(BriefConsole):
    """The same without a word of how far it is, but on a terminal for the moment."""

    def show(self, event: Event) -> None:
        if self.is_terminal and event.kind == "progress":
            super().show(event)

    @contextmanager
    def part(self, title: str) -> Iterator[None]:  # noqa: ARG002 # it is a line
        yield


class Ticker:
    """Progress of something that has no run directory."""

    def __init__(self) -> None:
        self._last = 0.0

    def tick(self, text: str) -> None:
        """Show a line now and then."""
        now = time.monotonic()
        if now - self._last >= _PLAIN_EVERY:
            self._last = now
            say(one_line(text)[:140])
