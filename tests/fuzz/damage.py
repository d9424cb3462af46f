"""What becomes of files: strategies for content that nobody wrote on purpose."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

DEEP = 200_000
"""Levels of nesting that end a program which follows them one by one."""

JUNK = st.sampled_from(
    [b"", b"{", b"[]", b"{}", b"null", b'"x"', b"5", b"\xff\xfe\0", b"\0" * 50, b"[" * DEEP, b'{"a":' * DEEP,
     b'"\\ud800"', b"NaN", b"-Infinity", b"1e999", b"9" * 300, b"9" * 5000, b"\xef\xbb\xbf{}", b"x" * 100_000,
     b"\n\n\n", b'{"schema_version": 2}', b"{}\n" * 20],
) | st.binary(max_size=40)  # fmt: skip

VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, -1, 5, 2**40, 10**300, 1.5, float("nan"), float("inf"), -1e308, "", "x", "\0", "../../x",
     "/etc/passwd", "a\nb", "\u202ex", "\ud800", "1", "x" * 10_000, [], {}, [[]], {"a": 1}],
)  # fmt: skip


def _places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield (*above, key)
        yield from _places(each, (*above, key))


def changed(document: Any, draw: Any) -> Any:
    """A JSON document with one thing in it gone, replaced, renamed or doubled."""
    places = list(_places(document))
    if not places:
        return draw(VALUES)
    *above, last = draw(st.sampled_from(places))
    table = document
    for key in above:
        table = table[key]
    how = draw(st.sampled_from(["value", "value", "value", "gone", "renamed"]))
    if how == "value":
        table[last] = draw(VALUES)
    elif how == "gone":
        del table[last]
    elif isinstance(table, dict):
        table[draw(st.sampled_from(["x", "", "\0", "a.b", ".."]))] = table.pop(last)
    else:
        table.append(table[last])
    return document


def bytes_of(content: bytes, draw: Any) -> bytes:
    """The content of a file with some of it lost, added or turned around."""
    how = draw(st.sampled_from(["junk", "cut", "inserted", "line", "twice", "json", "json", "json"]))
    at, junk = draw(st.integers(0, len(content))), bytes(draw(JUNK))
    lines = content.splitlines(keepends=True)
    if how == "cut":
        return content[:at]
    if how == "inserted":
        return content[:at] + junk + content[at:]
    if how == "twice":
        return content * 2
    if how == "line" and lines:
        del lines[at % len(lines)]
        return b"".join(lines)
    if how == "json":
        # One document a line, or one document on all lines.
        parts = lines if len(lines) > 1 and content.startswith(b'{"') else [content]
        index = at % len(parts)
        with suppress(ValueError):
            parts[index] = json.dumps(changed(json.loads(parts[index]), draw)).encode() + b"\n"
            return b"".join(parts)
    return junk


def of_file(path: Path, draw: Any) -> None:
    """Damage a file: what is in it, or what it is."""
    how = draw(st.sampled_from(["content"] * 6 + ["gone", "folder", "pipe", "nowhere", "circle"]))
    if how == "content":
        path.write_bytes(bytes_of(path.read_bytes(), draw))
        return
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "nowhere":
        path.symlink_to("/nonexistent/file")
    elif how == "circle":
        path.symlink_to(path.name)
