"""Reading back what a run wrote: the one reader of its documents, whatever has become of them since.

A run directory is copied, packed, mounted and edited by people and programs. What is in it is input like any other: a
document is what this version of the harness writes, or one line says which file is not, and where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from harness.ground.errors import UsageError
from harness.mechanism import files

T = TypeVar("T")

NEXT = "copy the run directory again, or run the case again"
"""What to do about a damaged file."""

_LARGEST_SAMPLES = 4 << 30  # a million samples with long answers
_LARGEST_NUMBER = 2**63
_SUSPICIOUS = re.compile(rb"[0-9]{16}|[0-9][eE][+-]?[0-9]{2}|NaN|Infinity")
_SHOWN = 200


def content(path: Path, largest: int = files.LARGEST) -> bytes | None:
    """Bytes of a file of a run; None if nothing is there.

    Raises:
        UsageError: It is no plain file that can be read.
    """
    try:
        return files.read(path, largest)
    except files.Unreadable as error:
        raise UsageError(f"{path}: {error}; {NEXT}") from None


def text(path: Path) -> str | None:
    """The same as text.

    Raises:
        UsageError: As above, or it is no UTF-8.
    """
    found = content(path)
    try:
        return None if found is None else found.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start}: no UTF-8; {NEXT}") from None


def read(path: Path, kind: type[T], next_step: str = NEXT) -> T | None:
    """The JSON document at ``path``; None if nothing is there.

    Raises:
        UsageError: It is not what this version of the harness writes.
    """
    found = content(path)
    return None if found is None else parsed(found, kind, str(path), next_step)


def lines(path: Path, kind: type[T]) -> list[T] | None:
    """The JSON documents of a file, one a line; None if nothing is there.

    Raises:
        UsageError: One of them is not what this version of the harness writes, or the last one was cut off.
    """
    found = content(path, _LARGEST_SAMPLES)
    if found is None:
        return None
    if found and not found.endswith(b"\n"):
        raise UsageError(f"{path}: its last line was cut off; {NEXT}")
    return [parsed(line, kind, f"{path}:{number}") for number, line in enumerate(_split(found), 1)]


def _split(found: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(found):
        end = found.index(b"\n", start)
        yield found[start:end]
        start = end + 1


def parsed(found: bytes, kind: type[T], where: str, next_step: str = NEXT) -> T:
    """A JSON document.

    Args:
        found: The document.
        kind: What it must be, to the type: nothing is converted.
        where: Names it in the error.
        next_step: What the error says to do.

    Raises:
        UsageError: It is something else, or holds a number that none of ours is: infinite, or of twenty digits.
    """
    try:
        if _SUSPICIOUS.search(found):
            _require_numbers(from_json(found, allow_inf_nan=False), "")
        adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type] # a type is hashable
        return adapter.validate_json(found, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key, wrong = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    except UsageError as error:
        key, wrong = "", str(error)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        # What parts of a document say of each other may be more than a validator of ours expects.
        key, wrong = "", f"{type(error).__name__}: {error}"
    at = f"{key[:_SHOWN].encode('unicode_escape').decode()}: " if key else ""
    wrong = wrong[:_SHOWN]
    raise UsageError(f"{where}: {at}{wrong}; damaged, or written by another version of the harness? {next_step}")


def _require_numbers(value: Any, at: str) -> None:
    """Deeper than the parser allows it cannot go."""
    if isinstance(value, dict):
        for key, each in value.items():
            _require_numbers(each, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _require_numbers(each, f"{at}.{index}")
    elif isinstance(value, int | float) and not -_LARGEST_NUMBER < value < _LARGEST_NUMBER:
        raise UsageError(f"{at or 'document'}: a number that nothing here can have")


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
