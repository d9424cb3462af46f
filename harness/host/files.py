"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.host import identity
from harness.host.identity import Identity

_PART, _END = ".harness.", ".part"
_NAME = re.compile(rf"{re.escape(_PART)}{identity.NAME}\.\w+{re.escape(_END)}")

LARGEST = 256 << 20
"""Bytes of the largest file that is read whole."""


class Unreadable(Exception):
    """Something is there, and it is no plain file that can be read. The message says in a few words why."""


def read(path: Path, largest: int = LARGEST) -> bytes | None:
    """Content of a plain file; None if nothing is there.

    Raises:
        Unreadable: It is something else, larger than ``largest`` bytes, or may not be read.
    """
    try:
        # Without O_NONBLOCK a named pipe would wait for somebody who writes into it.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if path.is_symlink():
            raise Unreadable("a link to nothing") from None
        return None
    except (OSError, ValueError) as error:
        raise Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("no plain file")
        if status.st_size > largest:
            raise Unreadable(f"has {status.st_size >> 20} MiB, more than the {largest >> 20} MiB that it may have")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(largest + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    finally:
        os.close(handle)


def _writer() -> str:
    try:
        return Identity.me().as_name
    except OSError:
        return Identity(os.getpid()).as_name


def writer(name: str) -> Identity | None:
    """Who is writing the file of this name, which :func:`write` renames when it is whole; None if it is no such."""
    found = _NAME.fullmatch(name)
    return identity.from_name(found) if found else None


def write(path: Path, content: str | bytes) -> None:
    """Write beside ``path``, then rename: a killed run never leaves half a file.

    Raises:
        OSError: The folder does not exist or cannot be written.
    """
    write_all({path: content})


def write_all(contents: Mapping[Path, str | bytes]) -> None:
    """Write several files that belong together. None is put in place before all are on the disk.

    Raises:
        OSError: One of them cannot be written; where it was the disk, all are as they were.
    """
    beside: dict[str, Path] = {}
    try:
        for path, content in contents.items():
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{_PART}{_writer()}.", suffix=_END)
            beside[name] = path
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)  # mkstemp makes it private; results are for everyone who may read the folder
        for name, path in beside.items():
            Path(name).replace(path)
    except BaseException:
        for name in beside:
            Path(name).unlink(missing_ok=True)
        raise


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    """Write a folder of files beside ``path``, then rename it; an existing ``path`` stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    beside.chmod(0o755)
    for name, content in files.items():
        (beside / name).write_bytes(content)
    try:
        beside.rename(path)
    except OSError:
        remove_folder(beside)
        if not path.is_dir():
            raise


def remove_folder(path: Path) -> None:
    """Remove a folder of plain files."""
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


def holds_any(path: Path, needles: Iterable[bytes]) -> bool:
    """Whether a file that may be large holds one of these; False for one that is empty or not there."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return any(content.find(needle) >= 0 for needle in needles)
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


def digest(*paths: Path) -> str:
    """SHA-256 over names and contents of files and of everything below folders, in sorted order."""
    sha = hashlib.sha256()
    for root in paths:
        files = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
        for file in files:
            name = file.relative_to(root).as_posix() if root.is_dir() else root.name
            sha.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return sha.hexdigest()


def digest_text(*parts: str) -> str:
    """SHA-256 over several texts, kept apart."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def hand_over(folder: Path, user: tuple[int, int]) -> None:
    """Give everything in ``folder`` to ``user``. Only root can, and only root needs to."""
    if os.getuid() != 0 or not folder.is_dir():
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, *user, follow_symlinks=False)
