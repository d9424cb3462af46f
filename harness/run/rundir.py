"""The run directory: what every stage reads and writes. One directory holds one case of one run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from harness.ground.domain import Device, Outcome, Sample, Server, Stage, StageRecord, Usage
from harness.ground.errors import UsageError
from harness.mechanism import files
from harness.mechanism.labels import Label
from harness.mechanism.owners import Owner
from harness.mechanism.processes import Started
from harness.mechanism.stopping import Stopped
from harness.policy.cases.model import Case, Platform
from harness.run.folders import make_folder

T = TypeVar("T")


class Document(BaseModel):
    """A JSON file of the run directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Runtime(Document):
    """Where the engine runs, and why there."""

    kind: Literal["local", "docker"]
    why: str
    engine_python: str
    environment: str
    """SHA-256 of the environment's lock, id of the image, or ``given`` for an interpreter of the caller's."""
    base: str = ""
    """Base image of a container's image: with its digest, or with its id if it was made on this machine."""
    devices: list[Device] = []
    """Accelerators of the run."""
    passthrough: str = ""
    """How the container was given them, in words; empty without a container or without any."""
    container: str = ""
    """Id of the container that holds the servers; empty without one."""


class Checkpoint(Document):
    """A model on disk, and the one thing that identifies its content."""

    path: str
    sha256: str = ""
    """Over all files, of a known-answer checkpoint."""
    revision: str = ""
    """Commit, of a repository of the model hub."""

    @property
    def whole(self) -> Path:
        """The folder that holds everything it links to: a snapshot in the hub's cache points into ``blobs`` beside."""
        return Path(self.path).parents[1] if self.revision else Path(self.path)


class Prepared(Document):
    """``case.json``: the case fully resolved, and everything needed to run or re-judge it."""

    schema_version: Literal[1] = 1
    run_id: str
    folder: str = ""
    """The run directory when it was made: a copy is another. Empty if a former version made it."""
    suite: str
    name: str
    platform: Platform
    case: Case
    created: str
    owner: Owner | None
    """None once the run directory itself stands for the run: stages by hand, or kept servers."""
    runtime: Runtime | None = None
    """None until the prepare stage has decided."""
    checkpoints: dict[str, Checkpoint] = {}
    data: dict[str, str] = {}
    """Path of each data file, whose content was checked."""
    versions: dict[str, str] = {}
    """Distributions of the engine's environment, as it reports them itself."""
    host: dict[str, str] = {}

    def label(self, folder: Path) -> Label:
        """What every process and container of the run in this run directory carries."""
        return Label(self.run_id, str(folder), self.owner.text if self.owner else "")


class RunningServer(Document):
    """A started server."""

    server: Server
    process: Started
    folder: str


class Servers(Document):
    """``servers.json``: what was started and how stopping it went."""

    servers: list[RunningServer]
    stopped: Stopped | None = None


class Occupancy(Document):
    """``devices.json``: what the devices of the run were used for, by UUID; None where nobody can say."""

    before: dict[str, Usage | None]
    after: dict[str, Usage | None] | None = None
    left: list[str] = []
    """What had not come back when everything was stopped, one line a device."""


class Ready(Document):
    """``ready.json``: how the servers came up."""

    seconds: float
    answered: dict[str, float]
    """Seconds until each probe first answered, by ``server: probe``."""
    first_token: str
    """Text of the first answer end to end."""
    attempts: int
    """Requests until that answer; those before it failed or were empty."""
    workers: dict[str, list[Started]] = {}
    """Processes that each server had started by then."""


class Event(Document):
    """One line of ``events.jsonl``."""

    time: str
    stage: Stage
    kind: Literal["start", "note", "progress", "end"]
    elapsed: float = 0.0
    done: int = 0
    total: int = 0
    text: str = ""
    outcome: Outcome | None = None
    details: str = ""


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
        path = self.log(server)
        return path.read_text(errors="replace") if path.exists() else ""

    def metrics_file(self, when: Literal["before", "after"], server: str) -> Path:
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
        path = self.path / f"{name}.json"
        if not os.path.lexists(path):
            return None
        if not path.is_file():  # a pipe would be waited for
            raise UsageError(f"{path}: is no file, or a link to none; remove it")
        try:
            return TypeAdapter(kind).validate_json(path.read_bytes())
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise UsageError(f"{path}: {key}: {first['msg']}; written by another version of the harness?") from None

    def prepared(self) -> Prepared:
        """``case.json``."""
        found = self.read("case", Prepared)
        assert found is not None, "a run directory has a case file"
        return found

    def keep(self) -> None:
        """From here on the run directory stands for the run, and no process."""
        self.save(self.prepared().model_copy(update={"owner": None}))

    def save(self, prepared: Prepared) -> None:
        """Write ``case.json``."""
        self.write("case", Prepared, prepared)

    def write_samples(self, samples: list[Sample]) -> None:
        """Write ``samples.jsonl``."""
        adapter = TypeAdapter(Sample)
        files.write(self.path / "samples.jsonl", b"".join(adapter.dump_json(sample) + b"\n" for sample in samples))

    def samples(self) -> list[Sample] | None:
        """``samples.jsonl``; None if the evaluation wrote none."""
        path = self.path / "samples.jsonl"
        if not path.exists():
            return None
        adapter = TypeAdapter(Sample)
        return [adapter.validate_json(line) for line in path.read_bytes().splitlines()]

    def append(self, event: Event) -> None:
        """Add a line to ``events.jsonl``."""
        with self.events_file.open("a") as file:
            file.write(event.model_dump_json(exclude_defaults=True) + "\n")

    def events(self) -> Iterator[Event]:
        """Lines of ``events.jsonl``; one that was cut off, by a kill or a full disk, is left out."""
        if not self.events_file.exists():
            return
        for line in self.events_file.read_bytes().split(b"\n"):
            try:
                yield Event.model_validate_json(line)
            except ValidationError:
                continue

    def stages(self) -> list[StageRecord]:
        """How each stage ended last, in order. One that began and never ended is an error: somebody was killed."""
        records: dict[Stage, StageRecord] = {}
        for event in self.events():
            if event.kind == "start":
                records[event.stage] = StageRecord(event.stage, Outcome.ERROR, 0.0, "began and never ended")
            elif event.kind == "end" and event.outcome is not None:
                record = StageRecord(event.stage, event.outcome, event.elapsed, event.text, event.details)
                records[event.stage] = record
        return [records[stage] for stage in Stage if stage in records]
