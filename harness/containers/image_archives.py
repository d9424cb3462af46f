"""An image as ``docker save`` writes it: its layers, and the files that a container of it would find."""

from __future__ import annotations

import hashlib
import json
import posixpath
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import IO, TypeVar

_CHUNK = 1 << 20
_MOST = 32 << 20  # bytes of one file that is wanted
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
}


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


_Loaded = TypeVar("_Loaded")

Layer = Mapping[str, Entry]
"""The entries of a layer by path; of a path that was written twice the last one."""


def read(archive: IO[bytes], wanted: Collection[int]) -> dict[int, Layer]:
    """Some layers of an archive as ``docker save`` writes it, plain or compressed, in either of its two forms."""
    return {number: layer for number, layer in enumerate(_each(archive, _layer)) if number in wanted}


def files(archive: IO[bytes], wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """What a container would find in the files whose path, without a leading slash, is wanted.

    A hard link to a file that is not wanted counts as not there.
    """
    found: dict[str, bytes] = {}
    for layer in _each(archive, partial(_contents, wanted=wanted)):
        removed = {_removed_by(path) for path, content in layer.items() if content is None}
        found = {path: content for path, content in found.items() if removed.isdisjoint((path, *_folders(path)))}
        found |= {path: content for path, content in layer.items() if content is not None}
    return found


def _removed_by(whiteout: str) -> str:
    """What a whiteout of an upper layer removes: a name, or all that lower ones have in a folder."""
    folder, name = posixpath.split(whiteout)
    return folder if name == _OPAQUE else posixpath.join(folder, name.removeprefix(_WHITEOUT))


def _folders(path: str) -> Iterator[str]:
    """All that a file is in, the root last."""
    while path:
        path = posixpath.dirname(path)
        yield path


def _each(archive: IO[bytes], load: Callable[[IO[bytes]], _Loaded | None]) -> list[_Loaded]:
    """Every layer of an archive, from the lowest. Which file is which stands at its end, so all are loaded.

    Args:
        archive: As ``docker save`` writes it.
        load: Of a layer as a tar file what is wanted; None of what is no tar file.
    """
    found: dict[str, _Loaded] = {}
    names: list[str] = []
    aliases: dict[str, str] = {}
    with tarfile.open(fileobj=archive, mode="r|") as saved:
        for member in saved:
            if member.issym():  # a layer that an image has twice
                aliases[member.name] = _beside(member.name, member.linkname)
            content = saved.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            if member.name == "manifest.json":
                names = json.load(content)[0]["Layers"]
            elif member.name.endswith(".tar") or member.name.startswith("blobs/"):
                layer = load(content)
                if layer is not None:
                    found[member.name] = layer
    return [found[aliases.get(name, name)] for name in names]


def _beside(name: str, link: str) -> str:
    """``../ID/layer.tar`` as seen from ``OTHER/layer.tar``."""
    parts = name.split("/")[:-1]
    for part in link.split("/"):
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def _layer(content: IO[bytes]) -> Layer | None:
    """The entries of a layer; None if it is none, but a configuration in JSON."""
    try:
        with tarfile.open(fileobj=content, mode="r|*") as layer:
            return {member.name: _entry(layer, member) for member in layer}
    except tarfile.ReadError:
        return None


def _contents(content: IO[bytes], wanted: Callable[[str], bool]) -> dict[str, bytes | None] | None:
    """Wanted files of a layer, and as None what removes files of lower ones; None if it is no layer."""
    found: dict[str, bytes | None] = {}
    try:
        with tarfile.open(fileobj=content, mode="r|*") as layer:
            for member in layer:
                path = posixpath.normpath(member.name).lstrip("/")
                if posixpath.basename(path).startswith(_WHITEOUT):
                    found[path] = None
                elif member.isfile() and member.size <= _MOST and wanted(path):
                    file = layer.extractfile(member)
                    found[path] = file.read() if file else b""
                elif member.islnk() and wanted(path) and (there := found.get(posixpath.normpath(member.linkname))):
                    found[path] = there
    except tarfile.ReadError:
        return None
    return found


def _entry(layer: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    kind = _KINDS.get(member.type, f"type {member.type!r}")
    link = f"{member.devmajor}:{member.devminor}" if kind == "device" else member.linkname
    sha = ""
    if kind == "file":
        content = layer.extractfile(member)
        assert content is not None, "a regular file has a content"
        digest = hashlib.sha256()
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
        sha = digest.hexdigest()
    return Entry(kind, member.mode, (member.uid, member.gid), member.mtime, link, sha)
