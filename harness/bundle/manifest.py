"""``manifest.json``: what is in a bundle, each file with its size and SHA-256."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from harness.base.errors import UsageError

NAME = "manifest.json"
BOOTSTRAP = "bundle.pyz"
SCHEMA_VERSION = 1

HARNESS_REQUIREMENTS = "requirements/harness.txt"
ENGINE_REQUIREMENTS = "requirements/engine.txt"

_SHA256 = re.compile(r"[0-9a-f]{64}")
# What moves a terminal's cursor, turns a line around or is no character has no place in a name, nor has a backslash.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\\]")
_LONGEST_NAME, _LONGEST_PATH = 255, 2048
_MOST_BYTES = 1 << 62
LARGEST = 64 << 20
"""Bytes of the largest manifest."""


class _Place(NamedTuple):
    """Where files of a kind lie: below which folder, and how many parts their path has."""

    folder: str
    least: int
    most: int


_PLACES = {
    "bootstrap": _Place(BOOTSTRAP, 1, 1),
    "case": _Place("baselines", 2, 3),
    "checkpoint": _Place("checkpoints", 3, 99),
    "data": _Place("data", 2, 99),
    "engine-wheel": _Place("engine-wheels", 2, 2),
    "image": _Place("images", 2, 2),
    "installer": _Place("installer", 2, 2),
    "model": _Place("hub", 5, 99),
    "requirements": _Place("requirements", 2, 2),
    "wheel": _Place("wheels", 2, 2),
}


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
    """Whether a path stays below the folder it is put into, whatever the system makes of it, and is spelt one way."""
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and not path.startswith("/")
        and ".." not in parts
        and "/".join(parts) == path
        and not _CONTROL.search(path)
        and all(len(part.encode()) <= _LONGEST_NAME for part in parts)
        and len(path.encode()) <= _LONGEST_PATH
    )


def parse(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        UsageError: It is damaged, of another version of the harness, or names something that no bundle holds.
    """
    try:
        document: dict[str, Any] = json.loads(content)
        version = document.pop("schema_version")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{NAME} is damaged: no manifest: {type(error).__name__}; copy the bundle again") from None
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise UsageError(
            f"{NAME}: schema_version {repr(version)[:40]}: this harness reads {SCHEMA_VERSION}; use the bundle's own"
        )
    try:
        files = tuple(Entry(**each) for each in document.pop("files"))
        found = Manifest(files=files, cases=tuple(document.pop("cases")), **document)
    except (TypeError, KeyError) as error:
        raise UsageError(f"{NAME} is damaged: a key is missing or unknown: {str(error)[:200]}") from None
    for each in fields(Manifest):
        if not _of_its_kind(each.name, getattr(found, each.name)):
            raise UsageError(f"{NAME} is damaged: {each.name} has no value of its kind")
    for entry in files:
        _require_possible(entry)
    _require_apart(files)
    return found


def _of_its_kind(name: str, value: object) -> bool:
    if name == "files":
        return True  # looked at one by one
    if name == "installed_bytes":
        return number(value)
    if name == "cases":
        return isinstance(value, tuple) and all(map(_word, value))
    if name in ("images", "left_out"):
        # Names of images are arguments of a program.
        pairs = value.items() if isinstance(value, dict) else [(None, None)]
        return all(_word(key) and _word(said) and not str(key).startswith("-") for key, said in pairs)
    return _word(value)


def _word(value: object) -> bool:
    return isinstance(value, str) and not _CONTROL.search(value.replace("\\", "/"))


def number(value: object) -> bool:
    """Whether a value is a number of bytes."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_BYTES


def digest(value: object) -> bool:
    """Whether a value is a SHA-256."""
    return isinstance(value, str) and bool(_SHA256.fullmatch(value))


def _require_possible(entry: Entry) -> None:
    if not isinstance(entry.path, str) or not safe(entry.path):
        raise UsageError(f"{NAME}: path {str(entry.path)[:200]!r} leads out of the bundle, or is no path")
    if not number(entry.size) or not digest(entry.sha256):
        raise UsageError(f"{NAME}: {entry.path}: size or SHA-256 is none")
    if not isinstance(entry.kind, str) or entry.kind not in _PLACES:
        known = ", ".join(sorted(_PLACES))
        raise UsageError(f"{NAME}: {entry.path}: kind {str(entry.kind)[:40]!r} is unknown; known are {known}")
    place, parts = _PLACES[entry.kind], PurePosixPath(entry.path).parts
    if parts[0] != place.folder or not place.least <= len(parts) <= place.most:
        raise UsageError(f"{NAME}: {entry.path}: no path of a {entry.kind}")


def _require_apart(files: tuple[Entry, ...]) -> None:
    """On some file systems names that differ in case, or in how an accent is put together, are one."""
    spelt: dict[str, str] = {}
    for entry in files:
        one = unicodedata.normalize("NFC", entry.path).casefold()
        if one in spelt:
            raise UsageError(f"{NAME}: a path is named twice: {entry.path}, {spelt[one]}")
        spelt[one] = entry.path
    for path, entry_path in spelt.items():
        for above in PurePosixPath(path).parents:
            if str(above) in spelt:
                raise UsageError(f"{NAME}: {entry_path} lies below {spelt[str(above)]}, which is a file")
