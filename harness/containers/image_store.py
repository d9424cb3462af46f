"""What an image is made of, as far as two of them can be compared.

Images in the container engine's store: looked at, read layer by layer, removed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker.errors
from docker.utils import parse_repository_tag

from harness.base.texts import cause
from harness.containers import image_archives
from harness.containers.image_archives import Layer
from harness.containers.lifecycle import ContainerFailed, connected


@dataclass(frozen=True)
class Image:
    """An image as the container engine describes it.

    Attributes:
        id: Of its configuration, which holds dates.
        layers: Digest of each layer as it lies on disk (``diff_id``), the lowest first.
        settings: What of its configuration matters when it runs: environment, command, user, labels.
    """

    id: str
    layers: tuple[str, ...]
    settings: Mapping[str, Any]


if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

_READ_TIMEOUT = 600
_CHUNK = 1 << 20
_SETTINGS = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "Labels", "StopSignal", "User", "Volumes", "WorkingDir")


def image_id(reference: str) -> str | None:
    """Id of a local image, None if there is none of that name."""
    with connected() as client:
        try:
            return str(client.images.get(reference).id)
        except docker.errors.ImageNotFound:
            return None


def newest(repository: str) -> str | None:
    """Name of the image that was made last of those in a repository; None if there is none.

    Raises:
        ContainerFailed: No engine answers.
    """
    with connected() as client:
        there = client.images.list(name=repository)
        found = [
            (each.attrs["Created"], tag) for each in there for tag in each.tags if tag.startswith(f"{repository}:")
        ]
        return max(found)[1] if found else None


def content(reference: str) -> str:
    """What a local image is, whatever its name will stand for tomorrow: its digest, or its id if it never had one.

    Raises:
        ContainerFailed: It is not here.
    """
    with connected() as client:
        found = client.images.get(reference)
        digests: list[str] = found.attrs.get("RepoDigests") or []
        named = parse_repository_tag(reference)[0]
        return next((each for each in digests if each.startswith(f"{named}@")), f"{reference} ({found.id})")


def pull(reference: str, on_tick: Callable[[str], None]) -> str:
    """Pull an image and return its id. ``on_tick`` is called with what the engine says meanwhile.

    Raises:
        ContainerFailed: The engine cannot have it.
    """
    with connected(timeout=_READ_TIMEOUT) as client:
        repository, tag = parse_repository_tag(reference)
        for line in client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
            if "error" in line:
                raise ContainerFailed(f"{reference}: {cause(line['error'])}")
            on_tick(f"pulling {reference}: {line.get('status', '')}")
        return str(client.images.get(reference).id)


def save(reference: str, path: Path) -> str:
    """Write a local image into an archive that ``docker load`` reads, and return its id.

    Raises:
        ContainerFailed: It is not here, or the engine does not answer.
        OSError: The archive cannot be written.
    """
    with connected(timeout=_READ_TIMEOUT) as client, path.open("wb") as file:
        image = client.images.get(reference)
        for chunk in image.save(named=reference):
            file.write(chunk)
        return str(image.id)


def image(reference: str) -> Image:
    """An image of the store.

    Raises:
        ContainerFailed: There is none of that name, or the engine does not answer.
    """
    with connected() as client:
        attrs = client.images.get(reference).attrs
        settings = {name: attrs["Config"].get(name) for name in _SETTINGS}
        return Image(str(attrs["Id"]), tuple(attrs["RootFS"]["Layers"]), settings)


def remove(reference: str) -> None:
    """Remove a name, and the image with it if it was its last; one that is gone already is fine.

    Raises:
        ContainerFailed: The engine refused.
    """
    with connected() as client:
        try:
            client.images.remove(reference)
        except docker.errors.ImageNotFound:
            return


def layers(reference: str, wanted: Collection[int]) -> dict[int, Layer]:
    """Some layers of an image by number, read from ``docker save`` without keeping it.

    Raises:
        ContainerFailed: There is no such image, or the engine does not answer.
    """
    with connected(timeout=_READ_TIMEOUT) as client:
        return image_archives.read(io.BufferedReader(_Stream(client.images.get(reference).save()), _CHUNK), wanted)


def files(reference: str, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """What a container of an image would find in some files, by path without a leading slash; nothing is started.

    Raises:
        ContainerFailed: There is no such image, or the engine does not answer.
    """
    with connected(timeout=_READ_TIMEOUT) as client:
        return image_archives.files(io.BufferedReader(_Stream(client.images.get(reference).save()), _CHUNK), wanted)


class _Stream(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        target = memoryview(buffer)
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = chunk
        part, self._left = self._left[: len(target)], self._left[len(target) :]
        target[: len(part)] = part
        return len(part)
