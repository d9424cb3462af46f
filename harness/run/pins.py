"""Base images: which one an engine's image is built on, and whether their pins still hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from harness.ground.clock import utc_now
from harness.ground.domain import Outcome
from harness.ground.errors import CannotJudge, UsageError
from harness.mechanism import containers, files, registry, store
from harness.policy import pins as policy
from harness.policy.cases.document import text
from harness.policy.pins import Pin, Pins
from harness.run import editing

FILE = Path(__file__).resolve().parents[2] / "docker" / "pins.toml"
"""The pins of the source tree that the harness runs from."""


@dataclass(frozen=True)
class Base:
    """What an image is built on.

    Attributes:
        reference: As a container engine takes it: ``name:tag@sha256:…``, or without digest where that was allowed.
        holds_engine: Whether the engine is in it; else it is installed from our locks.
    """

    reference: str
    holds_engine: bool


@dataclass(frozen=True)
class Looked:
    """What a registry said about one pin.

    Attributes:
        outcome: PASS, FAIL where the pin does not hold, ERROR where the registry did not say.
        text: One line for people, without the pin's name.
        digest: What the pin should be instead; empty if it is right, or nobody said.
    """

    outcome: Outcome
    text: str
    digest: str = ""


def load(path: Path = FILE) -> Pins:
    """The pins.

    Raises:
        UsageError: The file is wrong or not there.
    """
    if not path.exists():
        raise UsageError(f"{path}: cannot be read: No such file or directory; run from a checkout")
    return policy.parse(text(path), path)


def base(engine: str, platform: str, *, allow_unpinned: bool, mirror: str | None = None) -> Base:
    """The base image of an engine on a platform.

    Args:
        engine: Its name.
        platform: Of the image.
        allow_unpinned: Take the tag, whatever it stands for today, where nobody could resolve its digest.
        mirror: ``HOST[/PREFIX]`` that the container engine pulls from instead of the image's own registry.

    Raises:
        UsageError: There is no pin, or it is unresolved: with the next step.
    """
    pin = load(FILE).get((engine, platform))
    if pin is None:
        raise UsageError(f"{FILE}: no base image for {engine} on {platform}; add one, or name yours with --base-image")
    if not pin.resolved and not allow_unpinned:
        raise UsageError(
            f"{FILE}: {engine}.{platform}: the digest of {pin.name} is unresolved; `nox -s pins` looks it up, "
            "--allow-unpinned takes the tag as it is, --base-image names another image"
        )
    return Base(pin.reference(mirror), pin.engine == "in base")


def identity(reference: str, on_tick: Callable[[str], None]) -> str:
    """What makes an image built on a base another one: the base's digest, or the id of the local image of that name.

    One that is named without a digest and is not there is pulled: the same tag may be another image tomorrow.

    Raises:
        CannotJudge: It cannot be had.
    """
    if "@" in reference:
        return reference
    try:
        return store.image_id(reference) or store.pull(reference, on_tick)
    except containers.ContainerFailed as error:
        hint = "name one that is here with --base-image, or run with --runtime local"
        raise CannotJudge(f"no base image {reference}", cause=f"{error}; {hint}") from error


def content(reference: str) -> str:
    """What a base image is, for the record: its name with its digest, or with its id if it was made on this machine.

    Raises:
        CannotJudge: It is named without a digest and is not there.
    """
    try:
        return reference if "@" in reference else store.content(reference)
    except containers.ContainerFailed as error:
        raise CannotJudge(f"no base image {reference}", cause=str(error)) from error


def refresh(path: Path, mirror: str | None, *, write: bool) -> Iterator[tuple[str, Looked]]:
    """Ask the registries about every pin, and write down what they say.

    Args:
        path: The file of the pins.
        mirror: Ask here instead.
        write: Whether to write; without it, a tag that is not what it was is a failure.

    Yields:
        Name of each pin, and what was said. The file is written once, after the last.
    """
    pins = load(path)
    document = editing.document(path)
    for (engine, platform), pin in pins.items():
        looked = _look(pin, mirror, write=write)
        yield f"{engine}.{platform}", looked
        if looked.digest:
            table = document[engine][platform]
            table["digest"] = looked.digest
            table["source"] = f"the answer of the registry {pin.at(mirror).registry}"
            table["read"] = utc_now().date()
    if write:
        files.write(path, tomlkit.dumps(document))


def _look(pin: Pin, mirror: str | None, *, write: bool) -> Looked:
    place = pin.at(mirror)
    named = f"{place.registry}/{place.repository}:{pin.tag}"
    try:
        now = registry.digest(place.registry, place.repository, pin.tag)
        if now == pin.digest:
            return Looked(Outcome.PASS, f"{named} is {now}, as pinned")
        lost = pin.resolved and registry.digest(place.registry, place.repository, pin.digest) is None
    except registry.NoAnswer as error:
        return Looked(Outcome.ERROR, str(error))
    if now is None:
        kept = (
            "" if not pin.resolved else f"; the pinned {pin.digest} is {'not there either' if lost else 'still there'}"
        )
        return Looked(Outcome.FAIL, f"{named} does not exist{kept}")
    if not pin.resolved:
        return Looked(Outcome.PASS, f"{named} is {now}, " + ("written" if write else "unresolved here"), now)
    gone = ", which is gone from the registry: nothing can be built on this pin" if lost else ""
    moved = f"{named} {'moved' if pin.moving else 'was re-tagged'}: it is {now}, pinned is {pin.digest}{gone}"
    if write:
        return Looked(Outcome.PASS, f"{moved}; written", now)
    return Looked(Outcome.PASS if pin.moving and not lost else Outcome.FAIL, moved, now)
