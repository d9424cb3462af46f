"""The tar archive in the parts of a bundle: read once from front to back, and never further than it says."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import stat
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from harness.base.errors import UsageError
from harness.bundle.manifest import LARGEST, NAME, Manifest, parse

CHUNK = 1 << 20
_SLACK = 1 << 20
"""Bytes of an archive that may be read besides the content of a file: headers, padding, and what is read ahead."""
_BLOCK = 1 << 16


def opened(path: Path) -> IO[bytes]:
    """A plain file of a bundle: a named pipe would wait, and a link may lead anywhere.

    Raises:
        OSError: It is none.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "no plain file")
    return path.open("rb")


class _TooMuch(Exception):
    """An archive goes on where it should have ended."""


class _Allowed:
    """A stream of which no more can be read than was allowed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.left = _SLACK

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self.left -= len(chunk)
        if self.left < 0:
            raise _TooMuch("it unpacks to more than it says")
        return chunk


class Members:
    """Files of an archive, one after the other."""

    def __init__(self, stream: io.BufferedReader[_Joined], root: Path) -> None:
        self._root = root
        with self._readable():
            # Not by tarfile: it also takes kinds of compression that unpack to a million times their size.
            packed = stream.peek(2)[:2] == b"\x1f\x8b"
            self._stream = _Allowed(cast(IO[bytes], gzip.GzipFile(fileobj=stream, mode="rb") if packed else stream))
            self._archive = tarfile.open(fileobj=cast(IO[bytes], self._stream), mode="r|", bufsize=_BLOCK)  # noqa: SIM115 # the stream is the caller's

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """What is wrong with an archive, in whatever way the library stumbles over it, is one error."""
        try:
            yield
        except (
            *(tarfile.TarError, EOFError, zlib.error, OSError, _TooMuch, RecursionError),
            *(ValueError, LookupError, TypeError, ArithmeticError, AssertionError),
        ) as error:
            raise UsageError(
                f"{self._root}: the archive in the parts cannot be unpacked: {error}; copy the bundle again"
            ) from None

    def next(self) -> tarfile.TarInfo | None:
        """The next one; None after the last."""
        self._stream.left = _SLACK
        with self._readable():
            return self._archive.next()

    def manifest(self) -> Manifest:
        """The first one, which says what comes then."""
        member = self.next()
        if member is None or member.name != NAME or not member.isreg() or member.issparse():
            raise UsageError(f"{self._root}: the archive does not begin with {NAME}; copy the bundle again")
        if member.size > LARGEST:
            raise UsageError(f"{self._root}: {NAME} has {member.size >> 20} MiB, which none of ours has")
        content = io.BytesIO()
        self.copy(member, content)
        return parse(content.getvalue())

    def copy(self, member: tarfile.TarInfo, target: IO[bytes] | None) -> tuple[int, str]:
        """Length and SHA-256 of a file, copied on the way."""
        self._stream.left = member.size + _SLACK
        sha, size = hashlib.sha256(), 0
        with self._readable():
            content = self._archive.extractfile(member)
        while content is not None:
            with self._readable():
                chunk = content.read(CHUNK)
            if not chunk:
                break
            sha.update(chunk)
            size += len(chunk)
            if target is not None:
                target.write(chunk)
        return size, sha.hexdigest()


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
                self._file = opened(self._paths.pop(0))
            if count := self._file.readinto(buffer):  # type: ignore[attr-defined] # a file opened in binary mode has it
                return int(count)
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


def joined(paths: Sequence[Path]) -> io.BufferedReader[_Joined]:
    """Files one after the other as one stream."""
    return io.BufferedReader(_Joined(list(paths)), CHUNK)
