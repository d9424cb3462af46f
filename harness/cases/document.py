"""TOML files as people leave them: read whole, or refused in one line, whatever is in them.

What no key of any file of ours can hold is refused here, before a key is looked at: what is nested without end, numbers
that are none, characters that no argument, variable or line can carry. What a key may hold, the models say.

A case file is for everybody to read: no secret has a place in it.

TOML files that the harness edits: comments and layout stay.
"""

from __future__ import annotations

import math
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any

import tomlkit

from harness.base import secrets
from harness.base.errors import UsageError
from harness.base.settings import cut

_MOST_BYTES = 256 * 1024  # a hundred times the longest file of ours
_MOST_LEVELS = 32
_LONGEST_KEY = 200
_LONGEST_TEXT = 20_000
_INTEGERS = range(-(2**63), 2**63)
_DATED = {"since", "read"}
"""Keys of ours that hold dates."""

# Characters that end a line, a string of C or a colour: nothing of ours holds one on purpose.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
# The parser takes the square of the number of parts, so that is asked first; only where a part begins, or asking would
# take the square of the length of a name.
_LONG_DOTTED_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}\.[ \t]*+){{{_MOST_LEVELS}}}")


def read(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UsageError: It cannot be read, is no TOML, or holds what no file of ours can hold: with file and place.
    """
    return parse(text(path), path)


def text(path: Path) -> str:
    """The text of a file that a person wrote.

    Raises:
        UsageError: It is no file, too long, or not UTF-8.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path}: cannot be read: {'a folder' if path.is_dir() else 'a device or pipe'}, no file")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{path}: longer than {_MOST_BYTES // 1024} KiB: not a file of ours; split it")
    if content.startswith(b"\xef\xbb\xbf"):
        raise UsageError(f"{path}: begins with a byte order mark; save it as UTF-8 without one")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}: not valid TOML: line {line} is not UTF-8; save it as UTF-8") from None


def parse(content: str, path: Path) -> dict[str, Any]:
    """What a TOML text says.

    Args:
        content: The text.
        path: As it is named in errors.

    Raises:
        UsageError: As :func:`read`.
    """
    too_deep = UsageError(f"{path}: not valid: nested deeper than {_MOST_LEVELS} levels")
    if _LONG_DOTTED_KEY.search(content):
        raise too_deep
    try:
        found = tomllib.loads(content)
    except RecursionError:
        raise too_deep from None
    except ValueError as error:  # of the parser, and of numbers with thousands of digits
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    except (TypeError, AttributeError, LookupError):  # the parser fails on some tables that are written twice
        raise UsageError(f"{path}: not valid TOML: a table or a key is written twice") from None
    for problem in _problems(found):
        raise UsageError(f"{path}: {problem}")
    if (key := secret_in(found)) is not None:
        raise UsageError(
            f"{path}: {shown(key)}: a secret, and this file is for everybody to read; set it in the environment of the "
            'harness, and name the variable in serve.pass_env, as in ["HF_TOKEN"]'
        )
    return found


def _problems(found: Mapping[str, Any]) -> Iterator[str]:
    """What no file of ours can hold, as ``key: what``. A loop: depth is one of the things that may be wrong."""
    todo: list[tuple[tuple[str, ...], Any]] = [((), found)]
    while todo:
        where, value = todo.pop()
        if len(where) > _MOST_LEVELS:
            yield f"{shown(where[:3])}: nested deeper than {_MOST_LEVELS} levels"
            return
        if isinstance(value, dict):
            for key in value:
                if len(key) > _LONGEST_KEY or not key or _CONTROL.search(key):
                    yield f"{shown((*where, key))}: no name: empty, too long, or with a control character"
            todo += [((*where, key), each) for key, each in value.items()]
        elif isinstance(value, list):
            todo += [((*where, str(index)), each) for index, each in enumerate(value)]
        elif problem := _problem(where, value):
            yield f"{shown(where)}: {problem}"


def _problem(where: tuple[str, ...], value: Any) -> str:
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            return f"a text of {len(value)} characters; at most {_LONGEST_TEXT}"
        wrong = _CONTROL.search(value)
        return f"a text with the control character {wrong[0]!r}; leave it out" if wrong else ""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no number to count or compare with; give a finite one"
    if isinstance(value, int) and value not in _INTEGERS:
        return "a number that does not fit into 64 bits"
    if isinstance(value, date | time) and where[-1] not in _DATED:
        return f"a date or time; write it as a text: {str(value)!r}"
    return ""


def shown(key: tuple[str, ...]) -> str:
    """A key as an error names it: what is no plain name in quotes, what is long cut."""
    return ".".join(part if re.fullmatch(r"[\w.@=\[\]-]{1,80}", part, re.ASCII) else cut(repr(part)) for part in key)


def secret_in(document: Any, key: tuple[str, ...] = (), name: str = "") -> tuple[str, ...] | None:
    """Key of the first text in a document that is a secret by its name or its shape; None if there is none."""
    if isinstance(document, dict):
        for each, value in document.items():
            if secrets.has_shape(each):
                return (*key, secrets.MASK)
            if (found := secret_in(value, (*key, each), each)) is not None:
                return found
    elif isinstance(document, list):
        for number, value in enumerate(document):
            if (found := secret_in(value, (*key, str(number)), name)) is not None:
                return found
    elif isinstance(document, str):
        named = secrets.is_name(name) and not secrets.is_harmless(document)
        return key if named or secrets.has_shape(document) else None
    return None


def editable(path: Path) -> tomlkit.TOMLDocument:
    """A file as it is to be edited.

    Raises:
        UsageError: It is no file of ours, or the library that keeps the layout does not take it.
    """
    content = text(path)
    parse(content, path)
    try:
        return tomlkit.parse(content)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path}: cannot be edited ({' '.join(str(error).split())}); write its tables plainly"
        ) from None
