"""Whether an image comes out the same when it is built again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from harness.ground.errors import CannotJudge
from harness.ground.layers import Image
from harness.mechanism import containers, store
from harness.policy import layers
from harness.run import image
from harness.run.build_context import Tick


def check(engine: str, platform: str, build: image.Build, on_tick: Tick) -> list[str]:
    """Build twice without cache and return a line for everything that differs. Neither build is kept.

    Raises:
        UsageError: It cannot be said what to build.
        CannotJudge: It could not be built, or not be looked at.
    """
    wanted = image.recipe(engine, platform, build)
    name = f"inference-harness/rebuild-check:{uuid.uuid4().hex[:12]}"
    try:
        with ExitStack() as made:
            found = []
            for tag in (f"{name}-1", f"{name}-2"):
                made.callback(store.remove, tag)
                image.build_as(wanted, tag, replace(build, rebuild=True), on_tick)
                found.append(store.image(tag))
            return list(_differences(name, *found))
    except containers.ContainerFailed as error:
        raise CannotJudge("the container engine does not answer", cause=str(error)) from error


def _differences(name: str, first: Image, second: Image) -> Iterator[str]:
    yield from layers.settings(first, second)
    numbers = layers.different(first, second)
    if not numbers:
        return
    mine, other = store.layers(f"{name}-1", numbers), store.layers(f"{name}-2", numbers)
    for number in numbers:
        lines = list(layers.differences(mine.get(number, {}), other.get(number, {})))
        for line in lines or ["as archives only: every entry is the same"]:
            yield f"layer {number}: {line}"
