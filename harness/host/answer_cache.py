"""Answers that take seconds to get, kept below the user's cache folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.host import files

_MOST = 100
T = TypeVar("T")


def read(path: Path, kind: TypeAdapter[T]) -> T | None:
    """A kept answer, which stays the longer for being used; one that cannot be read is thrown away."""
    try:
        found = kind.validate_json(path.read_bytes())
        with suppress(OSError):  # a cache that cannot be written to
            os.utime(path)
    except FileNotFoundError:
        return None
    except (ValidationError, OSError):
        with suppress(OSError):
            path.unlink()
        return None
    return found


def keep(path: Path, kind: TypeAdapter[T], found: T) -> None:
    """Keep an answer, and of all answers beside it only those last used: every rebuild of an engine adds one.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, kind.dump_json(found))
    used = dict[Path, float]()
    for each in path.parent.glob("*.json"):
        with suppress(FileNotFoundError):  # another run tidies up too
            used[each] = each.stat().st_mtime
    for old in sorted(used, key=used.__getitem__, reverse=True)[_MOST:]:
        old.unlink(missing_ok=True)
