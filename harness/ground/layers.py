"""What an image is made of, as far as two of them can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One entry of a layer.

    Attributes:
        kind: file, folder, link, hard link, device or pipe.
        mode: Permission bits.
        owner: User and group id.
        mtime: Seconds since 1970.
        link: Target of a link, numbers of a device; else empty.
        sha256: Of a file's content; else empty.
    """

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime: float
    link: str = ""
    sha256: str = ""


Layer = Mapping[str, Entry]
"""The entries of a layer by path; of a path that was written twice the last one."""


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
