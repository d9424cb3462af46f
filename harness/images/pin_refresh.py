"""Whether the pins of base images still hold, as their registries say, and what they should be instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from harness.base.clock import utc_now
from harness.base.domain import Outcome
from harness.cases.document import editable
from harness.host import files
from harness.images import base_images, registry


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


def refresh(path: Path, mirror: str | None, *, write: bool) -> Iterator[tuple[str, Looked]]:
    """Ask the registries about every pin, and write down what they say.

    Args:
        path: The file of the pins.
        mirror: Ask here instead.
        write: Whether to write; without it, a tag that is not what it was is a failure.

    Yields:
        Name of each pin, and what was said. The file is written once, after the last.
    """
    pins = base_images.load(path)
    document = editable(path)
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


def _look(pin: base_images.Pin, mirror: str | None, *, write: bool) -> Looked:
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
