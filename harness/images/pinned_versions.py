"""Which version of an engine the pins and locks stand for."""

from __future__ import annotations

import re

from harness.base.domain import Platform
from harness.base.errors import UsageError
from harness.engines import ENGINES
from harness.images import base_images, engine_image

_TAG = re.compile(r"v?(\d+(?:\.\d+)+(?:\.?(?:post|rc|dev)\d+)?)(?:-.*)?")


def version(engine: str, platform: Platform) -> str | None:
    """The version that runs unless somebody names another build; None where neither a pin nor a lock says one.

    Away from a checkout, as on a host that a bundle was carried to, there are neither.

    Raises:
        UsageError: ``docker/pins.toml`` is wrong.
    """
    if not base_images.FILE.is_file():
        return None
    pin = base_images.load().get((engine, platform))
    if pin and pin.engine == "in base":
        found = _TAG.fullmatch(pin.tag)
        return found[1] if found else None
    try:
        lock = engine_image.requirements(engine, platform) / "engine.txt"
    except UsageError:
        return None
    for name in ENGINES[engine].own:
        if found := re.search(rf"^{re.escape(name)}==([^ ;\\]+)", lock.read_text(), re.MULTILINE):
            return found[1]
    return None
