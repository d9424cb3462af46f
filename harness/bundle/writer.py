"""Writing a bundle: the same content gives the same bytes, and a killed writer leaves no half bundle."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from harness.base.errors import UsageError
from harness.bundle.manifest import BOOTSTRAP, NAME, Entry, Manifest
from harness.bundle.reader import PARTS, sha256

_PACKAGE = Path(__file__).resolve().parents[1]
_BOOTSTRAP_MODULES = (
    "__init__.py",
    "base/__init__.py",
    "base/errors.py",
    "base/secrets.py",
    "base/texts.py",
    "host/__init__.py",
    "host/signals.py",
    "bundle/__init__.py",
    "bundle/archive.py",
    "bundle/folder.py",
    "bundle/loader.py",
    "bundle/placing.py",
    "bundle/manifest.py",
    "bundle/reader.py",
    "bundle/standalone.py",
)
_MAIN = b"from harness.bundle.standalone import main\n\nmain()\n"
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Content:
    """A file to be bundled: where its bytes are, or the bytes."""

    path: str
    kind: str
    source: Path | bytes

    def open(self) -> IO[bytes]:
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    def entry(self) -> Entry:
        with self.open() as stream:
            return Entry(self.path, self.kind, *sha256(stream))


def bootstrap() -> Content:
    """What verifies and loads a bundle with nothing but Python: the modules of this package that need no library."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(_member("__main__.py"), _MAIN)
        for name in _BOOTSTRAP_MODULES:
            archive.writestr(_member(f"harness/{name}"), (_PACKAGE / name).read_bytes())
    return Content(BOOTSTRAP, "bootstrap", buffer.getvalue())


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _FIRST_DATE)
    member.external_attr = 0o100644 << 16
    return member


def unpacked(wheels: Iterable[Path]) -> int:
    """Bytes of everything in some wheels."""
    total = 0
    for path in wheels:
        with zipfile.ZipFile(path) as wheel:
            total += sum(member.file_size for member in wheel.infolist())
    return total


def write(out: Path, manifest: Manifest, contents: Iterable[Content], *, date: int, part_size: int | None) -> None:
    """Write a bundle.

    Args:
        out: Folder that holds it then.
        manifest: Of ``contents``.
        contents: Everything but the manifest.
        date: Of the files in the archive, in seconds since 1970.
        part_size: Bytes of a part of the archive; None for plain files.

    Raises:
        UsageError: ``out`` holds something already.
        OSError: It cannot be written.
    """
    refuse_existing(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    beside.chmod(0o755)
    try:
        ordered = [Content(NAME, "manifest", manifest.render()), *sorted(contents, key=lambda each: each.path)]
        if part_size is None:
            _write_folder(beside, ordered)
        else:
            _write_parts(beside, ordered, date, part_size)
        if out.is_dir():
            out.rmdir()
        beside.rename(out)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def refuse_existing(out: Path) -> None:
    """Only a new or empty folder becomes a bundle.

    Raises:
        UsageError: It is none.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out}: must be a new or empty folder")


def _write_folder(folder: Path, contents: Iterable[Content]) -> None:
    for each in contents:
        target = folder / each.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with each.open() as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())


def _write_parts(folder: Path, contents: Iterable[Content], date: int, part_size: int) -> None:
    # Wheels do not shrink, known-answer checkpoints to a hundredth. No name and no date in the header.
    with (
        _Split(folder, part_size) as split,
        gzip.GzipFile(filename="", fileobj=split, mode="wb", compresslevel=1, mtime=0) as smaller,
        tarfile.open(fileobj=smaller, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for each in contents:
            member = tarfile.TarInfo(each.path)
            member.mtime, member.mode = date, 0o644
            with each.open() as source:
                member.size = source.seek(0, os.SEEK_END)
                source.seek(0)
                tar.addfile(member, source)
    # What joins the parts has to lie beside them.
    tool = bootstrap()
    with tool.open() as source:
        (folder / BOOTSTRAP).write_bytes(source.read())
    listed = [asdict(each) for each in (*split.parts, tool.entry())]
    for part in listed:
        del part["kind"]
    (folder / PARTS).write_text(json.dumps(listed, indent=1, sort_keys=True) + "\n")


class _Split:
    """A stream that goes on in the next file when one is full."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._file: IO[bytes] | None = None
        self._sha, self._written = hashlib.sha256(), 0
        self.parts: list[Entry] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def flush(self) -> None:
        """Nothing is kept back."""

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            if self._file is None:
                self._file = (self._folder / self._name).open("wb")
            chunk = view[: self._size - self._written]
            self._file.write(chunk)
            self._sha.update(chunk)
            self._written += len(chunk)
            view = view[len(chunk) :]
            if self._written == self._size:
                self._end()
        return len(data)

    @property
    def _name(self) -> str:
        return f"part.{len(self.parts):03d}"

    def _end(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self.parts.append(Entry(self._name, "part", self._written, self._sha.hexdigest()))
            self._file, self._sha, self._written = None, hashlib.sha256(), 0


def made(contents: Iterable[Content], about: Mapping[str, object]) -> Manifest:
    """The manifest of ``contents``; ``about`` is the rest of it.

    Raises:
        OSError: One of them cannot be read.
    """
    files = tuple(sorted((each.entry() for each in contents), key=lambda entry: entry.path))
    return Manifest(files=files, **about)  # type: ignore[arg-type] # its one caller names every other attribute
