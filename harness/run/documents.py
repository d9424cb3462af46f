"""Reading back what a run wrote: the one reader of its documents, whatever has become of them since.

A run directory is copied, packed, mounted and edited by people and programs. What is in it is input like any other: a
document is what this version of the harness writes, or one line says which file is not, and where.

The documents of a run directory, as types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from harness.base.domain import Device, Outcome, Platform, Stage, Usage
from harness.base.errors import Fault, UsageError
from harness.cases.model import Case
from harness.host import files
from harness.host.ownership import Label, Owner
from harness.host.processes import Started

T = TypeVar("T")

NEXT = "copy the run directory again, or run the case again"
"""What to do about a damaged file."""

_LARGEST_SAMPLES = 4 << 30  # a million samples with long answers
_LARGEST_NUMBER = 2**63
_SUSPICIOUS = re.compile(rb"[0-9]{16}|[0-9][eE][+-]?[0-9]{2}|NaN|Infinity")
_SHOWN = 200


def content(path: Path, largest: int = files.LARGEST) -> bytes | None:
    """Bytes of a file of a run; None if nothing is there.

    Raises:
        UsageError: It is no plain file that can be read.
    """
    try:
        return files.read(path, largest)
    except files.Unreadable as error:
        raise UsageError(f"{path}: {error}; {NEXT}") from None


def text(path: Path) -> str | None:
    """The same as text.

    Raises:
        UsageError: As above, or it is no UTF-8.
    """
    found = content(path)
    try:
        return None if found is None else found.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start}: no UTF-8; {NEXT}") from None


def read(path: Path, kind: type[T], next_step: str = NEXT) -> T | None:
    """The JSON document at ``path``; None if nothing is there.

    Raises:
        UsageError: It is not what this version of the harness writes.
    """
    found = content(path)
    return None if found is None else parsed(found, kind, str(path), next_step)


def lines(path: Path, kind: type[T]) -> list[T] | None:
    """The JSON documents of a file, one a line; None if nothing is there.

    Raises:
        UsageError: One of them is not what this version of the harness writes, or the last one was cut off.
    """
    found = content(path, _LARGEST_SAMPLES)
    if found is None:
        return None
    if found and not found.endswith(b"\n"):
        raise UsageError(f"{path}: its last line was cut off; {NEXT}")
    return [parsed(line, kind, f"{path}:{number}") for number, line in enumerate(_split(found), 1)]


def _split(found: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(found):
        end = found.index(b"\n", start)
        yield found[start:end]
        start = end + 1


def parsed(found: bytes, kind: type[T], where: str, next_step: str = NEXT) -> T:
    """A JSON document.

    Args:
        found: The document.
        kind: What it must be, to the type: nothing is converted. One with a function ``upgraded`` takes older versions.
        where: Names it in the error.
        next_step: What the error says to do.

    Raises:
        UsageError: It is something else, or holds a number that none of ours is: infinite, or of twenty digits.
    """
    try:
        if _SUSPICIOUS.search(found):
            _require_numbers(from_json(found, allow_inf_nan=False), "")
        if upgraded := getattr(kind, "upgraded", None):
            with suppress(ValueError):  # no JSON, which the validation says in its own words
                newer = upgraded(older := from_json(found, allow_inf_nan=False))
                found = found if newer is older else to_json(newer)
        adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type] # a type is hashable
        return adapter.validate_json(found, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key, wrong = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    except UsageError as error:
        key, wrong = "", str(error)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        # What parts of a document say of each other may be more than a validator of ours expects.
        key, wrong = "", f"{type(error).__name__}: {error}"
    at = f"{key[:_SHOWN].encode('unicode_escape').decode()}: " if key else ""
    wrong = wrong[:_SHOWN]
    raise UsageError(f"{where}: {at}{wrong}; damaged, or written by another version of the harness? {next_step}")


def _require_numbers(value: Any, at: str) -> None:
    """Deeper than the parser allows it cannot go."""
    if isinstance(value, dict):
        for key, each in value.items():
            _require_numbers(each, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _require_numbers(each, f"{at}.{index}")
    elif isinstance(value, int | float) and not -_LARGEST_NUMBER < value < _LARGEST_NUMBER:
        raise UsageError(f"{at or 'document'}: a number that nothing here can have")


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


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

    kind: Literal["local", "docker", "attached"]
    """``attached``: somebody else runs it, and nothing is started or stopped."""
    why: str
    engine_python: str
    environment: str
    """SHA-256 of the environment's lock, id of the image, ``given`` for an interpreter of the caller's,
    or the addresses of somebody else's servers by name."""
    base_unpinned: str = ""
    """Of a base image that the project has not pinned: how it came to be taken."""
    base: str = ""
    """Base image of a container's image: with its digest, or with its id if it was made on this machine."""
    devices: list[Device] = []
    """Accelerators of the run."""
    passthrough: str = ""
    """How the container was given them, in words; empty without a container or without any."""
    container: str = Field("", pattern=r"^[\w.-]*$")
    """Id of the container that holds the servers; empty without one."""
    api_key: str = ""
    """Where the key of attached servers is: ``env:NAME`` or ``file:PATH``; empty without one."""
    wanted_model: str = ""
    """Model that attached servers are to be asked for, as the user says it; empty: whatever fits."""


class Checkpoint(Document):
    """A model on disk, and the one thing that identifies its content."""

    path: str
    sha256: str = ""
    """Over all files, of a known-answer checkpoint or a folder of the user's."""
    revision: str = ""
    """Commit, of a repository of the model hub."""
    unpinned: str = ""
    """Of what the project has not pinned: how it came to be taken. Empty if it has."""
    is_own: bool = False  # a folder of the user's

    @property
    def whole(self) -> Path:
        """The folder that holds everything it links to: a snapshot in the hub's cache points into ``blobs`` beside."""
        return Path(self.path).parents[1] if self.revision else Path(self.path)


class Prepared(Document):
    """``case.json``: the case fully resolved, and everything needed to run or re-judge it."""

    schema_version: Literal[1] = 1
    layout: int = Field(1, ge=1, le=2)
    """Which files the run leaves: 2 with what servers hold at rest and as the main run goes on."""
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
    build: str = ""
    """SHA-256 of all that changes when the build of the engine does."""
    fingerprint: str = ""
    """As of :func:`harness.run.reuse.fingerprint`."""
    reused: str = ""
    """Id of the run whose verdict stands, so that this one was not run; empty if it was."""
    prompts: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 of everything that is asked, in order; empty if an earlier version made it."""
    reference: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 of ``reference.json``; empty if the run is compared with no other."""
    alarm_share: float = Field(1.0, gt=0, le=1)
    """What of the stated false-alarm rates the run may use, so that all points of one command together keep theirs."""
    served_as: str = Field("", max_length=500)
    """Model that attached servers are asked for; empty: that of the case."""

    @property
    def attached(self) -> bool:
        """Whether somebody else runs the servers."""
        return self.runtime is not None and self.runtime.kind == "attached"

    @property
    def model(self) -> str:
        """What requests name as their model."""
        return self.served_as or self.case.serve.served_as

    def label(self, folder: Path) -> Label:
        """What every process and container of the run in this run directory carries."""
        return Label(self.run_id, str(folder), self.owner.text if self.owner else "")


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
    interrupted: bool = False
    fault: Fault = ""
