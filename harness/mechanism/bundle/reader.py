"""Reading a bundle, from a folder or from the parts of a tar archive, and saying all that is wrong with it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from harness.ground.errors import CannotJudge, UsageError
from harness.mechanism.bundle.manifest import BOOTSTRAP, NAME, Entry, Manifest, parse, safe

PARTS = "parts.json"
_CHUNK = 1 << 20

Sink = Callable[[Entry], "IO[bytes] | None"]
"""Where the content of a file goes while it is read; None for nowhere."""


class Bundle(Protocol):
    """A bundle on disk."""

    def manifest(self) -> Manifest:
        """What is in it. Raises: CannotJudge, UsageError, OSError."""

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


def sha256(stream: IO[bytes], copy: IO[bytes] | None = None) -> tuple[int, str]:
    """Length and SHA-256 of what a stream still holds, copied on the way."""
    sha, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK):
        sha.update(chunk)
        size += len(chunk)
        if copy is not None:
            copy.write(chunk)
    return size, sha.hexdigest()


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
        try:
            return parse((self.root / NAME).read_bytes())
        except OSError as error:
            raise CannotJudge(f"{self.root / NAME}: cannot be read", cause=str(error.strerror)) from error

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
                    yield f"{path}: not in the manifest"

    def _problem(self, entry: Entry) -> str:
        path, inside = self.root / entry.path, PurePosixPath(entry.path)
        # A link may lead out of the bundle, at any depth.
        if any((self.root / each).is_symlink() for each in (inside, *inside.parents[:-1])):
            return f"{entry.path}: a link; a bundle holds none"
        if not path.is_file():
            return f"{entry.path}: missing"
        try:
            with path.open("rb") as file:
                return _differs(entry, sha256(file))
        except OSError as error:
            return f"{entry.path}: cannot be read: {error.strerror}"


@dataclass(frozen=True)
class Parts:
    """A bundle as a tar archive in parts, whose names, sizes and SHA-256 are in ``parts.json``."""

    root: Path

    def _listed(self) -> list[Entry]:
        try:
            document = json.loads((self.root / PARTS).read_bytes())
            listed = [Entry(str(each["path"]), "part", int(each["size"]), str(each["sha256"])) for each in document]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CannotJudge(f"{self.root / PARTS} is damaged", cause=f"no list of parts: {error!r}") from None
        for each in listed:
            if not safe(each.path) or "/" in each.path:
                raise CannotJudge(f"{PARTS}: path {each.path!r} leads out of the bundle")
        return listed

    @contextmanager
    def _archive(self) -> Iterator[tarfile.TarFile]:
        paths = [self.root / each.path for each in self._listed() if each.path != BOOTSTRAP]
        try:
            with (
                io.BufferedReader(_Joined(paths), _CHUNK) as stream,
                tarfile.open(fileobj=stream, mode="r|*") as archive,
            ):
                yield archive
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise CannotJudge(f"{self.root}: the archive in the parts cannot be unpacked", cause=str(error)) from error

    def manifest(self) -> Manifest:
        with self._archive() as archive:
            return _first(archive)

    def problems(self) -> Iterator[str]:
        wrong = list(self.wrong_parts())
        # Of an archive with a wrong part nothing more can be said.
        yield from wrong or self.contents(lambda _: None)

    def wrong_parts(self) -> Iterator[str]:
        """Parts that are missing or not what they were."""
        for entry in self._listed():
            try:
                with (self.root / entry.path).open("rb") as file:
                    problem = _differs(entry, sha256(file))
            except FileNotFoundError:
                problem = f"{entry.path}: missing"
            except OSError as error:
                problem = f"{entry.path}: cannot be read: {error.strerror}"
            if problem:
                yield problem

    def contents(self, sink: Sink) -> Iterator[str]:
        """Read every file into what ``sink`` returns for it, and say what is wrong. What is in no manifest is left."""
        with self._archive() as archive:
            manifest = _first(archive)
            wanted = {entry.path: entry for entry in manifest.files}
            while member := archive.next():
                entry = wanted.pop(member.name, None)
                if entry is None:
                    yield f"{member.name!r}: not in the manifest, or twice in the archive"
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    yield f"{member.name}: no plain file; a bundle holds nothing else"
                    continue
                target = sink(entry)
                try:
                    problem = _differs(entry, sha256(content, target))
                finally:
                    if target is not None:
                        target.close()
                if problem:
                    yield problem
            yield from (f"{path}: missing" for path in wanted)


def _first(archive: tarfile.TarFile) -> Manifest:
    member = archive.next()
    content = archive.extractfile(member) if member and member.name == NAME and member.isreg() else None
    if content is None:
        raise CannotJudge(f"the archive does not begin with {NAME}")
    return parse(content.read())


class _Joined(io.RawIOBase):
    """Files one after the other as one stream."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = list(paths)
        self._file: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # what BufferedReader passes
        while True:
            if self._file is None:
                if not self._paths:
                    return 0
                self._file = self._paths.pop(0).open("rb")
            if count := self._file.readinto(buffer):  # type: ignore[attr-defined] # a file opened in binary mode has it
                return int(count)
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()
