"""SHA-256 of the content of a folder that may be large, cheap where nothing has changed.

What a file's content was is kept with all that says that it is still the same file: device, inode, size, and the times
of its last change and of the last change of its inode. The last one no program can set back.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.host import data_files, files, model_files

_WORKERS = 4
_SETTLED = 2.0
"""Seconds after which a file has changed for the clock too: within one tick of it, a second change leaves no trace."""

Stamp = tuple[int, int, int, int, int]
_Kept = dict[str, tuple[Stamp, str]]
_KEPT = TypeAdapter(_Kept)


def of_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder by its path there; hidden folders left out.

    Raises:
        OSError: A file cannot be read.
    """
    kept, record = _read(folder), _record(folder)
    found: _Kept = {}
    with ThreadPoolExecutor(_WORKERS) as pool:
        paths = model_files.plain_files(folder)
        for name, entry in zip(
            paths, pool.map(lambda each: _of(each[1], kept.get(each[0])), paths.items()), strict=True
        ):
            found[name] = entry
    now = time.time()
    settled = {name: (stamp, sha) for name, (stamp, sha) in found.items() if now - max(stamp[3:]) / 1e9 > _SETTLED}
    if settled != kept:
        _write(record, settled)
    return {name: sha for name, (_, sha) in found.items()}


def of_all(found: Mapping[str, str]) -> str:
    """One SHA-256 over those of all files and their names."""
    return files.digest_text(*(part for name in sorted(found) for part in (name, found[name])))


def _of(path: Path, kept: tuple[Stamp, str] | None) -> tuple[Stamp, str]:
    before = _stamp(path)
    if kept is not None and kept[0] == before:
        return kept
    with path.open("rb") as file:
        sha = hashlib.file_digest(file, "sha256")
    # Of one that changed meanwhile the content is nobody's: with the older stamp it is read again next time.
    return before, sha.hexdigest()


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _record(folder: Path) -> Path:
    return data_files.cache_folder("digests") / f"{files.digest_text(os.path.realpath(folder))[:16]}.json"


def _read(folder: Path) -> _Kept:
    try:
        return _KEPT.validate_json(files.read(_record(folder)) or b"{}")
    except (files.Unreadable, ValidationError):
        return {}  # it is only saved time


def _write(path: Path, kept: _Kept) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, _KEPT.dump_json(kept))
    except OSError:
        pass
