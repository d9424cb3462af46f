"""Reading a bundle, from a folder or from the parts of a tar archive, and saying all that is wrong with it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from harness.base.errors import UsageError
from harness.bundle.archive import CHUNK, Members, joined, opened
from harness.bundle.manifest import BOOTSTRAP, LARGEST, NAME, Entry, Manifest, digest, number, parse, safe

PARTS = "parts.json"
_LARGEST_LIST = 16 << 20

Sink = Callable[[Entry], "IO[bytes] | None"]
"""Where the content of a file goes while it is read; None for nowhere."""


class Bundle(Protocol):
    """A bundle on disk."""

    def manifest(self) -> Manifest:
        """What is in it. Raises: UsageError, OSError."""

    def problems(self) -> Iterator[str]:
        """One line for each thing that is wrong."""


def at(path: Path) -> Bundle:
    """The bundle in a folder.

    Raises:
        UsageError: There is none.
    """
    if (path / PARTS).is_file():
        return Parts(path)
    if (path / NAME).is_file():
        return Folder(path)
    raise UsageError(f"{path}: no bundle here: neither {NAME} nor {PARTS}; make one with `harness bundle make`")


def sha256(stream: IO[bytes]) -> tuple[int, str]:
    """Length and SHA-256 of what a stream still holds."""
    sha, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK):
        sha.update(chunk)
        size += len(chunk)
    return size, sha.hexdigest()


def _read(path: Path, largest: int) -> bytes:
    """All of a plain file.

    Raises:
        UsageError: It cannot be read, or is larger.
    """
    try:
        with opened(path) as file:
            content = file.read(largest + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; copy the bundle again") from None
    if len(content) > largest:
        raise UsageError(f"{path}: larger than {largest >> 20} MiB, which none of ours is; copy the bundle again")
    return content


def _shown(name: str) -> str:
    """A name as a line can hold it."""
    return name if name.isprintable() else repr(name)


def _differs(entry: Entry, found: tuple[int, str]) -> str:
    size, digest = found
    if size != entry.size:
        return f"{entry.path}: {size} bytes, expected {entry.size}"
    return f"{entry.path}: SHA-256 is {digest}, expected {entry.sha256}" if digest != entry.sha256 else ""


@dataclass(frozen=True)
class Folder:
    """A bundle as plain files."""

    root: Path

    def manifest(self) -> Manifest:
        return parse(_read(self.root / NAME, LARGEST))

    def problems(self) -> Iterator[str]:
        manifest = self.manifest()
        for entry in manifest.files:
            if problem := self._problem(entry):
                yield problem
        named = {entry.path for entry in manifest.files} | {NAME}
        for folder, folders, names in os.walk(self.root):
            for name in [*names, *(each for each in folders if (Path(folder) / each).is_symlink())]:
                path = (Path(folder) / name).relative_to(self.root).as_posix()
                if path not in named:
                    yield f"{_shown(path)}: not in the manifest"

    def _problem(self, entry: Entry) -> str:
        path, inside = self.root / entry.path, PurePosixPath(entry.path)
        # A link may lead out of the bundle, at any depth.
        if any((self.root / each).is_symlink() for each in (inside, *inside.parents[:-1])):
            return f"{entry.path}: a link; a bundle holds none"
        if not path.exists():
            return f"{entry.path}: missing"
        try:
            with opened(path) as file:
                size = os.fstat(file.fileno()).st_size
                return _differs(entry, (size, "") if size != entry.size else sha256(file))
        except OSError as error:
            return f"{entry.path}: cannot be read: {error.strerror}"


@dataclass(frozen=True)
class Parts:
    """A bundle as a tar archive in parts, whose names, sizes and SHA-256 are in ``parts.json``."""

    root: Path

    def _listed(self) -> list[Entry]:
        try:
            document = json.loads(_read(self.root / PARTS, _LARGEST_LIST))
            listed = [Entry(each["path"], "part", each["size"], each["sha256"]) for each in document]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            said = f"no list of parts: {type(error).__name__}"
            raise UsageError(f"{self.root / PARTS} is damaged: {said}; copy the bundle again") from None
        for each in listed:
            if not isinstance(each.path, str) or not safe(each.path) or "/" in each.path:
                raise UsageError(f"{PARTS}: path {str(each.path)[:200]!r} leads out of the bundle")
            if not number(each.size) or not digest(each.sha256):
                raise UsageError(f"{PARTS}: {each.path}: size or SHA-256 is none")
        if len({each.path for each in listed}) != len(listed):
            raise UsageError(f"{PARTS}: a part is named twice")
        return listed

    @contextmanager
    def _archive(self) -> Iterator[Members]:
        paths = [self.root / each.path for each in self._listed() if each.path != BOOTSTRAP]
        with joined(paths) as stream:
            yield Members(stream, self.root)

    def manifest(self) -> Manifest:
        with self._archive() as members:
            return members.manifest()

    def problems(self) -> Iterator[str]:
        wrong = list(self.wrong_parts())
        # Of an archive with a wrong part nothing more can be said.
        yield from wrong or self.contents(lambda _: None)

    def wrong_parts(self) -> Iterator[str]:
        """Parts that are missing or not what they were."""
        for entry in self._listed():
            try:
                with opened(self.root / entry.path) as file:
                    size = os.fstat(file.fileno()).st_size
                    problem = _differs(entry, (size, "") if size != entry.size else sha256(file))
            except FileNotFoundError:
                problem = f"{entry.path}: missing"
            except OSError as error:
                problem = f"{entry.path}: cannot be read: {error.strerror}"
            if problem:
                yield problem

    def contents(self, sink: Sink) -> Iterator[str]:
        """Read every file into what ``sink`` returns for it, and say what is wrong.

        Nothing is taken that the manifest does not say, and of nothing more than it says. An archive that says
        something else is not read any further: what it unpacks to has no limit.
        """
        with self._archive() as members:
            wanted = {entry.path: entry for entry in members.manifest().files}
            while wanted and (member := members.next()):
                entry = wanted.pop(member.name, None)
                if entry is None:
                    yield f"{member.name!r}: not in the manifest, or twice in the archive"
                    return
                if not member.isreg() or member.issparse():
                    yield f"{member.name}: no plain file; a bundle holds nothing else"
                    return
                if member.size != entry.size:
                    yield f"{member.name}: {member.size} bytes in the archive, expected {entry.size}"
                    return
                target = sink(entry)
                try:
                    problem = _differs(entry, members.copy(member, target))
                finally:
                    if target is not None:
                        target.close()
                if problem:
                    yield problem
            if not wanted and (member := members.next()):
                yield f"{member.name!r}: not in the manifest, or twice in the archive"
            yield from (f"{path}: missing" for path in wanted)
