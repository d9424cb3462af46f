"""Whether an image comes out the same when it is built again.

Two builds compared: which layers differ, in which files, and in what.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

from harness.base.domain import Platform
from harness.base.errors import CannotJudge
from harness.containers import image_store, lifecycle
from harness.containers.image_archives import Entry, Layer
from harness.containers.image_store import Image
from harness.images import engine_image
from harness.images.build_context import Tick


def check(engine: str, platform: Platform, build: engine_image.Build, on_tick: Tick) -> list[str]:
    """Build twice without cache and return a line for everything that differs. Neither build is kept.

    Raises:
        UsageError: It cannot be said what to build.
        CannotJudge: It could not be built, or not be looked at.
    """
    wanted = engine_image.recipe(engine, platform, build)
    name = f"inference-harness/rebuild-check:{uuid.uuid4().hex[:12]}"
    try:
        with ExitStack() as made:
            found = []
            for tag in (f"{name}-1", f"{name}-2"):
                made.callback(image_store.remove, tag)
                engine_image.build_as(wanted, tag, replace(build, rebuild=True), on_tick)
                found.append(image_store.image(tag))
            return list(_differences(name, *found))
    except lifecycle.ContainerFailed as error:
        raise CannotJudge("the container engine does not answer", cause=str(error)) from error


def _differences(name: str, first: Image, second: Image) -> Iterator[str]:
    yield from settings(first, second)
    numbers = different(first, second)
    if not numbers:
        return
    mine, other = image_store.layers(f"{name}-1", numbers), image_store.layers(f"{name}-2", numbers)
    for number in numbers:
        lines = list(differences(mine.get(number, {}), other.get(number, {})))
        for line in lines or ["as archives only: every entry is the same"]:
            yield f"layer {number}: {line}"


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
