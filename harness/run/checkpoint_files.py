"""Known-answer checkpoints on disk."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter

from harness.base.errors import CannotJudge, UsageError
from harness.datasets import pinned_files
from harness.host import answer_cache, data_files, files
from known_answer import names
from known_answer.file_digest import digest

_SHA256 = TypeAdapter(Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")])


def on_disk(folder: Path) -> str:
    """SHA-256 of a checkpoint as it is there; empty if there is none."""
    return digest({file.name: file.read_bytes() for file in folder.iterdir()}) if folder.is_dir() else ""


def _made(name: str) -> dict[str, bytes]:
    from known_answer.checkpoints import CHECKPOINTS  # needs numpy, which takes longer than all else here

    checkpoint = CHECKPOINTS[name]
    return checkpoint.files(data_files.texts(pinned_files.named(checkpoint.data_files)))


def _origin(name: str) -> str:
    """SHA-256 of all that decides what a checkpoint is: the package that makes it, its data files, and numpy."""
    parts = {"numpy": metadata.version("numpy").encode(), "name": name.encode()}
    for dataset in pinned_files.named(names.DATA_FILES.get(name, ())):
        parts[dataset.file] = dataset.sha256.encode()
    return digest(parts | _sources())


@cache
def _sources() -> dict[str, bytes]:
    """What makes every checkpoint."""
    modules = resources.files(names.__package__).iterdir()
    return {module.name: module.read_bytes() for module in modules if module.name.endswith(".py")}


def cached(name: str) -> tuple[Path, str]:
    """Folder and SHA-256 of a checkpoint, made if it is missing and made anew if it was changed.

    What came out once of the same origin is noted, and only compared from then on.

    Raises:
        CannotJudge: A data file that it is made from is not to be had.
    """
    note = data_files.cache_folder("checkpoint_digests") / f"{name}-{_origin(name)[:12]}.json"
    noted = answer_cache.read(note, _SHA256)
    if noted and on_disk(folder_of(name, noted)) == noted:
        return folder_of(name, noted), noted
    content = _made(name)
    wanted = digest(content)
    folder = folder_of(name, wanted)
    if folder.is_dir() and on_disk(folder) != wanted:
        files.remove_folder(folder)
    if not folder.is_dir():
        files.write_folder(folder, content)
    with suppress(OSError):  # made anew the next time
        answer_cache.keep(note, _SHA256, wanted)
    return folder, wanted


def folder_of(name: str, sha256: str) -> Path:
    """Where the cache has a checkpoint."""
    return data_files.cache_folder("checkpoints") / f"{name}-{sha256[:12]}"


def make(folder: Path, wanted: Iterable[str] = names.NAMES) -> tuple[dict[str, str], dict[str, str]]:
    """Write checkpoints below ``folder``, each into a folder of its name.

    Args:
        folder: Where to.
        wanted: Their names.

    Returns:
        The SHA-256 of each by name, and of those left out, for want of a data file, the reason.

    Raises:
        UsageError: Something else is there already.
    """
    digests, left_out = {}, {}
    for name in wanted:
        try:
            content = _made(name)
        except CannotJudge as error:
            left_out[name] = str(error)
            continue
        digests[name] = write(folder / name, content)
    return digests, left_out


def write(target: Path, content: dict[str, bytes]) -> str:
    """Write a checkpoint into a folder, unless it is there; returns its SHA-256.

    Raises:
        UsageError: Something else is there already.
    """
    found = digest(content)
    if target.is_dir() and on_disk(target) != found:
        raise UsageError(f"{target}: exists with another content; remove it or give another folder")
    if not target.is_dir():
        files.write_folder(target, content)
    return found
