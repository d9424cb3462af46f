"""The run directory: what every stage reads and writes. One directory holds one case of one run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import TypeAdapter

from harness.base.domain import Outcome, Sample, Stage, StageRecord
from harness.base.errors import UsageError
from harness.base.exchange import Exchanged
from harness.host import files
from harness.run import documents
from harness.run.documents import (
    Checkpoint,
    Document,
    Event,
    Occupancy,
    Prepared,
    Ready,
    Runtime,
)
from harness.run.folders import make_folder
from harness.run.running_servers import RunningServer, Servers

__all__ = [
    "Checkpoint",
    "Document",
    "Event",
    "Occupancy",
    "Prepared",
    "Ready",
    "RunDir",
    "RunningServer",
    "Runtime",
    "Servers",
    "make_folder",
]

T = TypeVar("T")

When = Literal["before", "after", "rest"]
"""When ``/metrics`` is read: before the main run, after it, and at the end of the evaluation."""

_LARGEST_LOG = 4 << 30
_LAST_LINES = 1 << 16
"""Bytes that hold the last line of events, which may quote the end of a log."""


def directly_below(folder: Path, name: str) -> Path:
    """``folder/name``.

    Raises:
        UsageError: That is not directly in ``folder``: the name, or a link of that name, leads out of it.
    """
    path = folder / name
    if path.name != name or os.path.realpath(path) != os.path.join(os.path.realpath(folder), name):  # noqa: PTH118
        raise UsageError(f"{folder}: {name!r} leads out of it: not a name for a run directory")
    return path


class RunDir:
    """Paths and typed access. Documents are written beside and renamed; ``events.jsonl`` only grows."""

    CASE = "case.json"

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))  # unlike resolve(), also of links that go round in circles
        self._prepared: Prepared | None = None

    @classmethod
    def existing(cls, path: Path) -> RunDir:
        """The run directory at ``path``.

        Raises:
            UsageError: There is none.
        """
        found = cls(path)
        if not os.path.lexists(found.case_file):
            raise UsageError(
                f"{path}: no run directory ({found.case_file.name} is not there); `harness serve` makes one"
            )
        return found

    @classmethod
    def create(cls, path: Path) -> RunDir:
        """A new run directory at ``path``.

        Raises:
            UsageError: There is one already, and results are never overwritten; or it cannot be made.
        """
        made = cls(path)
        there = os.path.lexists(made.case_file)
        if not there:
            make_folder(made.path)
            there = not make_folder(made.logs, alone=True)
        if there:
            raise UsageError(f"{path}: already a run directory; give another, or remove it")
        for folder in (made.metrics, made.cwd):
            make_folder(folder)
        return made

    @property
    def case_file(self) -> Path:
        return self.path / self.CASE

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics"

    @property
    def cwd(self) -> Path:
        """Working directories of the servers."""
        return self.path / "cwd"

    @property
    def events_file(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def junit_file(self) -> Path:
        return self.path / "junit.xml"

    def log(self, server: str) -> Path:
        return self.logs / f"{server}.log"

    def stack(self, server: str) -> Path:
        """Where the processes of a server stood that did not move any more."""
        return self.logs / f"{server}.stack"

    def log_text(self, server: str) -> str:
        """The log of a server, empty if there is none."""
        try:
            return (files.read(self.log(server), _LARGEST_LOG) or b"").decode(errors="replace")
        except files.Unreadable:
            return ""

    def metrics_file(self, when: When, server: str) -> Path:
        return self.metrics / f"{when}-{server}.prom"

    def info_file(self, server: str) -> Path:
        """What a server says about its configuration."""
        return self.metrics / f"info-{server}.json"

    def write(self, name: str, kind: type[T], document: T) -> None:
        """Write ``NAME.json``."""
        files.write(self.path / f"{name}.json", TypeAdapter(kind).dump_json(document, indent=2) + b"\n")

    def read(self, name: str, kind: type[T]) -> T | None:
        """Read ``NAME.json``; None if it is not there.

        Raises:
            UsageError: It is not what this version of the harness writes.
        """
        return documents.read(self.path / f"{name}.json", kind)

    def prepared(self) -> Prepared:
        """``case.json``, as it was when it was first read or last saved here: what happens to the file since then must
        not keep a run from stopping what it started.

        Raises:
            UsageError: It is not what this version of the harness writes.
        """
        if self._prepared is None:
            self._prepared = self.read("case", Prepared)
        if self._prepared is None:
            raise UsageError(f"{self.case_file}: not there any more; {documents.NEXT}")
        return self._prepared

    def keep(self) -> None:
        """From here on the run directory stands for the run, and no process."""
        self.save(self.prepared().model_copy(update={"owner": None}))

    def save(self, prepared: Prepared) -> None:
        """Write ``case.json``."""
        self.write("case", Prepared, prepared)
        self._prepared = prepared

    def write_samples(self, samples: list[Sample]) -> None:
        """Write ``samples.jsonl``."""
        self._write_lines("samples", Sample, samples)

    def samples(self) -> list[Sample] | None:
        """``samples.jsonl``; None if the evaluation wrote none.

        Raises:
            UsageError: A line is not what this version of the harness writes.
        """
        return documents.lines(self.path / "samples.jsonl", Sample)

    def write_exchanges(self, exchanged: list[Exchanged]) -> None:
        """Write ``exchanges.jsonl``."""
        self._write_lines("exchanges", Exchanged, exchanged)

    def exchanges(self) -> list[Exchanged] | None:
        """``exchanges.jsonl``; None if there were none.

        Raises:
            UsageError: A line is not what this version of the harness writes.
        """
        return documents.lines(self.path / "exchanges.jsonl", Exchanged)

    def _write_lines(self, name: str, kind: type[T], documents: Iterable[T]) -> None:
        adapter = TypeAdapter(kind)
        files.write(self.path / f"{name}.jsonl", b"".join(adapter.dump_json(each) + b"\n" for each in documents))

    def append(self, event: Event) -> None:
        """Add a line to ``events.jsonl``."""
        # A named pipe in its place would wait for somebody who reads.
        handle = os.open(self.events_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o644)
        with os.fdopen(handle, "a") as file:
            file.write(event.model_dump_json(exclude_defaults=True) + "\n")

    def events(self) -> Iterator[Event]:
        """Lines of ``events.jsonl``; one that was cut off, by a kill or a full disk, is left out."""
        for line in (documents.content(self.events_file) or b"").split(b"\n"):
            try:
                yield documents.parsed(line, Event, str(self.events_file))
            except UsageError:
                continue

    def latest(self) -> Event | None:
        """The last line of ``events.jsonl`` that is whole, read from its end: it is asked for again and again."""
        with suppress(OSError), self.events_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_LINES))
            for line in reversed(file.read().split(b"\n")):
                with suppress(UsageError):
                    return documents.parsed(line, Event, str(self.events_file))
        return None

    def stages(self) -> list[StageRecord]:
        """How each stage ended last, in order. One that began and never ended is an error: somebody was killed."""
        records: dict[Stage, StageRecord] = {}
        for event in self.events():
            if event.kind == "start":
                records[event.stage] = StageRecord(event.stage, Outcome.ERROR, 0.0, "began and never ended")
            elif event.kind == "end" and event.outcome is not None:
                record = StageRecord(
                    event.stage,
                    event.outcome,
                    event.elapsed,
                    event.text,
                    event.details,
                    event.interrupted,
                    event.fault,
                )
                records[event.stage] = record
        return [records[stage] for stage in Stage if stage in records]
