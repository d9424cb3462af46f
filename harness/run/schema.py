"""The documents of a run directory, as types."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from harness.ground.domain import Device, Outcome, Server, Stage, Usage
from harness.mechanism.labels import Label
from harness.mechanism.owners import Owner
from harness.mechanism.processes import Started
from harness.mechanism.stopping import Stopped
from harness.policy.cases.model import Case, Platform

_SERVER = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)


def _point(name: str) -> str:
    """Part of the id of a case: it names folders, classes of a report and lines on a terminal."""
    if not name.isprintable() or not 0 < len(name) <= 500:
        raise ValueError("must be printable, and no longer than 500 characters")
    return name


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


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
    container: str = Field("", pattern=r"^[\w.-]*$")
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
    run_id: str = Field(pattern=r"^[\w-]{1,64}$")
    folder: str = ""
    """The run directory when it was made: a copy is another. Empty if a former version made it."""
    suite: Annotated[str, AfterValidator(_point)]
    name: Annotated[str, AfterValidator(_point)]
    platform: Platform
    case: Case
    created: Annotated[str, AfterValidator(_moment)]
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

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """Names become names of files, and process ids and ports are asked and signalled."""
        names = [running.server.name for running in self.servers]
        for running in self.servers:
            if not _SERVER.fullmatch(running.server.name) or names.count(running.server.name) > 1:
                raise ValueError(f"{running.server.name[:50]!r} is no name of a server of its own")
            if not 1 < running.process.pid < 2**31:
                raise ValueError(f"{running.server.name}: no process has the id {running.process.pid}")
            if not all(0 < port < 1 << 16 for port in running.server.ports.values()):
                raise ValueError(f"{running.server.name}: a port that none can be")
        return self


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
