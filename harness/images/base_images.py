"""Base images of engines, pinned by digest: what stands in ``docker/pins.toml``.

Base images: which one an engine's image is built on, and whether their pins still hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, create_model

from harness.base.domain import PLATFORMS, Platform
from harness.base.errors import CannotJudge, UsageError
from harness.base.settings import Like, Strict
from harness.cases.document import parse as parse_toml
from harness.cases.document import text
from harness.cases.serve_settings import UNRESOLVED
from harness.cases.validation_errors import usage_error
from harness.containers import image_store, lifecycle
from harness.engines import ENGINES
from harness.host import first_use
from harness.images import registry

_KIND: first_use.Kind = "base image"
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


FILE = Path(__file__).resolve().parents[2] / "docker" / "pins.toml"
"""The pins of the source tree that the harness runs from."""


@dataclass(frozen=True)
class Base:
    """What an image is built on.

    Attributes:
        reference: As a container engine takes it: ``name:tag@sha256:…``, or without digest where that was allowed.
        holds_engine: Whether the engine is in it; else it is installed from our locks.
        unpinned: Of one that the project has not pinned: how it came to be taken. Empty if it has.
    """

    reference: str
    holds_engine: bool
    unpinned: str = ""


def load(path: Path = FILE) -> Pins:
    """The pins.

    Raises:
        UsageError: The file is wrong or not there.
    """
    if not path.exists():
        raise UsageError(f"{path}: cannot be read: No such file or directory; run from a checkout")
    return parse(text(path), path)


def base(
    engine: str, platform: Platform, *, allow_unpinned: bool, mirror: str | None = None, may_ask: bool = True
) -> Base:
    """The base image of an engine on a platform.

    What an unresolved tag stands for, its registry is asked at first use, and the answer is written down on this
    machine: the next time it is the same image. Where the registry does not answer, the image of that tag that is here.

    Args:
        engine: Its name.
        platform: Of the image.
        allow_unpinned: Take the tag, whatever it stands for today, where the project has no digest.
        mirror: ``HOST[/PREFIX]`` that the container engine pulls from instead of the image's own registry.
        may_ask: Whether a registry may be asked; without, the tag alone stands for what is not known yet.

    Raises:
        UsageError: There is no pin.
        CannotJudge: Nobody says what the tag stands for.
    """
    pin = load(FILE).get((engine, platform))
    if pin is None:
        raise UsageError(
            f"{FILE}: no base image for {engine} on {platform}", next_step="add one, or name yours with --base-image"
        )
    holds_engine = pin.engine == "in base"
    if pin.resolved:
        return Base(pin.reference(mirror), holds_engine)
    if allow_unpinned:
        return Base(
            pin.reference(mirror),
            holds_engine,
            f"base image taken as its tag is now: {pin.name}, not pinned by the project",
        )
    taken = first_use.recalled(_KIND, pin.name)
    if taken is None:
        if not may_ask:
            return Base(pin.reference(mirror), holds_engine)
        try:
            taken = _first_use(pin, mirror)
        except registry.NoAnswer as error:
            here = _base_here(pin.reference(mirror))
            if not here:
                raise CannotJudge(
                    f"the digest of {pin.name} is not pinned, and no registry says what it is",
                    cause=f"{error}; --registry names a mirror, --base-image an image that is here",
                    fault="network",
                ) from error
            return Base(pin.reference(mirror), holds_engine, f"{here}, not pinned by the project ({error})")
    return Base(f"{pin.reference(mirror)}@{taken.value}", holds_engine, taken.text)


def _first_use(pin: Pin, mirror: str | None) -> first_use.Taken:
    """What the registry says that the tag stands for, written down.

    Raises:
        registry.NoAnswer: It does not say.
        CannotJudge: It has no such image.
    """
    place = pin.at(mirror)
    found = registry.digest(place.registry, place.repository, pin.tag)
    if found is None:
        raise CannotJudge(
            f"{place.registry} has no image {place.repository}:{pin.tag}",
            cause="its publisher removed it; name another with --base-image",
            fault="configuration",
        )
    return first_use.keep(_KIND, pin.name, found, place.registry)


def _base_here(reference: str) -> str:
    """What is said of the image of that name on this machine; empty if there is none."""
    try:
        return f"base image of this machine: {reference}" if image_store.image_id(reference) else ""
    except lifecycle.ContainerFailed:
        return ""


def identity(reference: str, on_tick: Callable[[str], None]) -> str:
    """What makes an image built on a base another one: the base's digest, or the id of the local image of that name.

    One that is named without a digest and is not there is pulled: the same tag may be another image tomorrow.

    Raises:
        CannotJudge: It cannot be had.
    """
    if "@" in reference:
        return reference
    try:
        return image_store.image_id(reference) or image_store.pull(reference, on_tick)
    except lifecycle.ContainerFailed as error:
        hint = "name one that is here with --base-image, or run with --runtime local"
        raise CannotJudge(f"no base image {reference}", cause=f"{error}; {hint}") from error


def content(reference: str) -> str:
    """What a base image is, for the record: its name with its digest, or with its id if it was made on this machine.

    Raises:
        CannotJudge: It is named without a digest and is not there.
    """
    try:
        return reference if "@" in reference else image_store.content(reference)
    except lifecycle.ContainerFailed as error:
        raise CannotJudge(f"no base image {reference}", cause=str(error)) from error
