"""Base images of engines, pinned by digest: what stands in ``docker/pins.toml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, create_model

from harness.ground.errors import UsageError
from harness.policy.cases.document import parse as parse_toml
from harness.policy.cases.model import PLATFORMS, UNRESOLVED
from harness.policy.cases.words import usage_error
from harness.policy.engines import ENGINES
from harness.policy.schema import Like, Strict

DIGEST = r"sha256:[0-9a-f]{64}"

# The grammar of names and tags is that of the OCI distribution specification; a registry in front of them has a dot, a
# port or is localhost, as the docker client tells it from an organisation.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|\[[0-9a-f:]+\])(?::[0-9]+)?|[A-Za-z0-9-]+:[0-9]+)"
_IMAGE = rf"{_HOST}(?:/{_PART})+"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_MIRROR = re.compile(rf"{_HOST}(?:/{_PART})*")


class Pin(Strict):
    """One base image. Which engine and platform it is for, its place in the file says."""

    image: Annotated[str, Like(_IMAGE, "docker.io/library/python")] = Field(description="Registry and repository.")
    tag: Annotated[str, Like(_TAG, "v0.30.0")] = Field(description="The release that a person chose.")
    digest: Annotated[str, Like(f"{DIGEST}|{UNRESOLVED}", f"sha256: and 64 hexadecimal digits, or {UNRESOLVED}")] = (
        Field(description="What the tag stood for.")
    )
    engine: Literal["in base", "from wheels"] = Field(description="Where the engine comes from.")
    moving: bool = Field(False, description="The publisher moves this tag on purpose.")
    source: str = Field(min_length=10, description="Where the digest was read, or looked for.")
    read: date = Field(description="When.")

    @property
    def resolved(self) -> bool:
        return self.digest != UNRESOLVED

    @property
    def name(self) -> str:
        """Image and tag, as people say it."""
        return f"{self.image}:{self.tag}"

    def at(self, mirror: str | None) -> Place:
        """Where the image is asked for.

        Args:
            mirror: ``HOST[/PREFIX]`` that stands for the image's own registry; None for that itself.
        """
        registry, _, repository = self.image.partition("/")
        if mirror is None:
            return Place(registry, repository)
        host, _, prefix = mirror.partition("/")
        return Place(host, f"{prefix}/{repository}" if prefix else repository)

    def reference(self, mirror: str | None = None) -> str:
        """The image as a container engine takes it: with its digest, unless that is unresolved."""
        place = self.at(mirror)
        named = f"{place.registry}/{place.repository}:{self.tag}"
        return f"{named}@{self.digest}" if self.resolved else named


@dataclass(frozen=True)
class Place:
    """A repository of a registry.

    Attributes:
        registry: ``HOST[:PORT]``.
        repository: Path in it.
    """

    registry: str
    repository: str


Pins = Mapping[tuple[str, str], Pin]
"""Pins by engine and platform."""

_platforms: dict[str, Any] = dict.fromkeys(PLATFORMS, (Pin | None, None))
_Platforms = create_model("_Platforms", __base__=Strict, **_platforms)
_engines: dict[str, Any] = dict.fromkeys(ENGINES, (_Platforms | None, None))
_File = create_model("_File", __base__=Strict, **_engines)


def parse(text: str, path: Path) -> Pins:
    """The pins in a file, in the file's order.

    Args:
        text: Its content.
        path: As it is named in errors.

    Raises:
        UsageError: It is wrong: with file, key and the nearest valid name.
    """
    content = parse_toml(text, path)
    try:
        _File.model_validate(content)
        return {
            (engine, platform): Pin.model_validate(table)
            for engine, platforms in content.items()
            for platform, table in platforms.items()
        }
    except ValidationError as error:
        raise usage_error(path, error, _File) from None


def mirror(text: str) -> str:
    """``text``, if it can stand for a registry.

    Raises:
        UsageError: It is not like ``HOST[:PORT][/PREFIX]``.
    """
    if not _MIRROR.fullmatch(text):
        raise UsageError(f"--registry {text}: must be like HOST[:PORT][/PREFIX], without https://")
    return text
