"""Files of a bundle where they belong: copied, linked, and replaced only by what is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from harness.bundle import reader
from harness.bundle.manifest import Entry, Manifest


def share(root: Path, manifest: Manifest, into: Path) -> None:
    """Checkpoints and models, folder by folder: each is whole or not there."""
    # checkpoints/NAME/… and hub/models--NAME/snapshots/COMMIT/…
    homes = {"checkpoint": (2, into / "cache" / "inference-harness"), "model": (4, into / "huggingface")}
    for kind, (depth, home) in homes.items():
        folders: dict[Path, list[Entry]] = {}
        for entry in manifest.of_kind(kind):
            folders.setdefault(Path(*Path(entry.path).parts[:depth]), []).append(entry)
        for folder, entries in folders.items():
            _place(root, folder, entries, home)


def _place(root: Path, folder: Path, entries: Iterable[Entry], home: Path) -> None:
    target = home / folder
    if all(_same(home / entry.path, entry) for entry in entries):
        return
    beside = Path(tempfile.mkdtemp(dir=made(target.parent), prefix=f".{target.name}."))
    try:
        beside.chmod(0o755)
        for entry in entries:
            copy(root / entry.path, beside / Path(entry.path).relative_to(folder), link=True)
        if target.is_dir():
            shutil.rmtree(target)
        beside.rename(target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _same(path: Path, entry: Entry) -> bool:
    try:
        with path.open("rb") as file:
            return reader.sha256(file) == (entry.size, entry.sha256)
    except OSError:
        return False


def copy(source: Path, target: Path, *, link: bool = False) -> None:
    """Copy a file, or link it where that is possible and wanted."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        try:
            os.link(source, target)  # models are large, and nobody writes into them
        except OSError:
            pass
        else:
            return
    shutil.copyfile(source, target)


def made(path: Path) -> Path:
    """The folder at ``path``, made if it is not there."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def link(path: Path, target: str) -> None:
    """A link that is replaced in one step."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(path)
