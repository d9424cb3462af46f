"""Answers that take seconds to get, kept below the user's cache folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.mechanism import files

_NEWEST = 100
T = TypeVar("T")


def read(path: Path, kind: TypeAdapter[T]) -> T | None:
    """A kept answer; one that cannot be read is thrown away."""
    try:
        return kind.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError):
        with suppress(OSError):
            path.unlink()
        return None


def keep(path: Path, kind: TypeAdapter[T], found: T) -> None:
    """Keep an answer, and of all answers beside it only the newest: every rebuild of an engine adds one.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, kind.dump_json(found))
    by_age = sorted(path.parent.glob("*.json"), key=lambda each: each.stat().st_mtime, reverse=True)
    for old in by_age[_NEWEST:]:
        old.unlink(missing_ok=True)
