"""Two builds compared: which layers differ, in which files, and in what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from harness.ground.layers import Entry, Image, Layer


def different(first: Image, second: Image) -> list[int]:
    """Numbers of the layers that differ, from 0; a layer that only one image has is one of them."""
    longest = max(len(first.layers), len(second.layers))
    return [
        number for number in range(longest) if first.layers[number : number + 1] != second.layers[number : number + 1]
    ]


def settings(first: Image, second: Image) -> Iterator[str]:
    """A line for each setting that differs."""
    for name in sorted({*first.settings, *second.settings}):
        mine, other = first.settings.get(name), second.settings.get(name)
        if mine != other:
            yield f"configuration: {name}: {mine!r}, then {other!r}"


def differences(first: Layer, second: Layer) -> Iterator[str]:
    """A line for each path that differs, in the order of paths: what it is about, before and after."""
    for path in sorted({*first, *second}):
        mine, other = first.get(path), second.get(path)
        if mine is None or other is None:
            yield f"{path}: only in the {'second' if mine is None else 'first'} build"
        elif mine != other:
            yield f"{path}: {'; '.join(_fields(mine, other))}"


_SHOWN: tuple[tuple[str, Callable[[Entry], str]], ...] = (
    ("type", lambda entry: entry.kind),
    ("mode", lambda entry: f"{entry.mode:04o}"),
    ("owner", lambda entry: f"{entry.owner[0]}:{entry.owner[1]}"),
    ("mtime", lambda entry: datetime.fromtimestamp(entry.mtime, UTC).isoformat()),
    ("link", lambda entry: entry.link),
    ("content", lambda entry: entry.sha256[:12]),
)


def _fields(first: Entry, second: Entry) -> Iterator[str]:
    for name, shown in _SHOWN:
        if shown(first) != shown(second):
            yield f"{name} {shown(first) or 'none'}, then {shown(second) or 'none'}"
