"""``manifest.json``: what is in a bundle, each file with its size and SHA-256."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any

from harness.ground.errors import CannotJudge, UsageError

NAME = "manifest.json"
BOOTSTRAP = "bundle.pyz"
SCHEMA_VERSION = 1

HARNESS_REQUIREMENTS = "requirements/harness.txt"
ENGINE_REQUIREMENTS = "requirements/engine.txt"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class Entry:
    """One file of a bundle.

    Attributes:
        path: In the bundle, with ``/``.
        kind: ``bootstrap``, ``case``, ``checkpoint``, ``data``, ``engine-wheel``, ``image``, ``installer``, ``model``,
            ``requirements`` or ``wheel``.
        size: In bytes.
        sha256: Of the content.
    """

    path: str
    kind: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What is in a bundle.

    Attributes:
        created: When the source revision was made, in UTC: the same inputs give the same bundle.
        version: Of the harness.
        revision: Of its source tree.
        platform: Whose cases these are.
        python: The other side's Python, as in ``3.12``.
        machine: The other side's processor, as ``uname -m`` calls it.
        cases: Ids of the points that can run with what is here.
        checkpoints: Checkpoint set they run with; empty for the cases' own models.
        left_out: Ids of points that cannot run, each with the reason.
        images: Id of each image by name.
        installed_bytes: What the wheels take when they are unpacked.
        files: Every file but this one, by path.
    """

    created: str
    version: str
    revision: str
    platform: str
    python: str
    machine: str
    cases: tuple[str, ...]
    checkpoints: str
    left_out: Mapping[str, str]
    images: Mapping[str, str]
    installed_bytes: int
    files: tuple[Entry, ...]

    def of_kind(self, *kinds: str) -> list[Entry]:
        """Files of some kinds."""
        return [each for each in self.files if each.kind in kinds]

    @property
    def summary(self) -> str:
        """In one line, with the SHA-256 by which the two sides can compare."""
        size = sum(each.size for each in self.files) >> 20
        digest = hashlib.sha256(self.render()).hexdigest()
        return (
            f"{len(self.files)} files, {size} MiB, {len(self.cases)} points for {self.platform}, Python {self.python}, "
            f"revision {self.revision}; manifest {digest}"
        )

    def render(self) -> bytes:
        """As a file: the same manifest, the same bytes."""
        return (
            json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1, sort_keys=True) + "\n"
        ).encode()


def safe(path: str) -> bool:
    """Whether a path stays below the folder it is put into, whatever the system makes of it."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and not _CONTROL.search(path)


def parse(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        CannotJudge: It is damaged, or names a path outside the bundle.
        UsageError: It is of another version of the harness.
    """
    try:
        document: dict[str, Any] = json.loads(content)
        version = document.pop("schema_version")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotJudge(f"{NAME} is damaged", cause=f"no manifest: {type(error).__name__}") from None
    if version != SCHEMA_VERSION:
        raise UsageError(f"{NAME}: schema_version {version}: this harness reads {SCHEMA_VERSION}; use the bundle's own")
    try:
        files = tuple(Entry(**each) for each in document.pop("files"))
        found = Manifest(files=files, cases=tuple(document.pop("cases")), **document)
    except (TypeError, KeyError) as error:
        raise CannotJudge(f"{NAME} is damaged", cause=f"a key is missing or unknown: {error}") from None
    kinds = {"cases": tuple, "files": tuple, "images": dict, "left_out": dict, "installed_bytes": int}
    for each in fields(Manifest):
        if not isinstance(getattr(found, each.name), kinds.get(each.name, str)):
            raise CannotJudge(f"{NAME} is damaged", cause=f"{each.name} has no value of its kind")
    for entry in files:
        if not isinstance(entry.path, str) or not safe(entry.path):
            raise CannotJudge(f"{NAME}: path {entry.path!r} leads out of the bundle")
        if not isinstance(entry.size, int) or entry.size < 0 or not _SHA256.fullmatch(str(entry.sha256)):
            raise CannotJudge(f"{NAME}: {entry.path}: size or SHA-256 is none")
    if len({each.path for each in files}) != len(files):
        raise CannotJudge(f"{NAME}: a path is named twice")
    return found
