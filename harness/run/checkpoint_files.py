"""Known-answer checkpoints on disk."""

from __future__ import annotations

from pathlib import Path

from harness.base.errors import CannotJudge, UsageError
from harness.datasets import pinned_files
from harness.host import data_files, files
from known_answer.checkpoints import CHECKPOINTS, digest


def _on_disk(folder: Path) -> str:
    return digest({file.name: file.read_bytes() for file in folder.iterdir()})


def _made(name: str) -> dict[str, bytes]:
    checkpoint = CHECKPOINTS[name]
    return checkpoint.files(data_files.texts(pinned_files.named(checkpoint.data_files)))


def cached(name: str) -> tuple[Path, str]:
    """Folder and SHA-256 of a checkpoint, made if it is missing and made anew if it was changed.

    Raises:
        CannotJudge: A data file that it is made from is not to be had.
    """
    content = _made(name)
    wanted = digest(content)
    folder = data_files.cache_folder("checkpoints") / f"{name}-{wanted[:12]}"
    if folder.is_dir() and _on_disk(folder) != wanted:
        files.remove_folder(folder)
    if not folder.is_dir():
        files.write_folder(folder, content)
    return folder, wanted


def make(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Write every checkpoint below ``folder``.

    Returns:
        The SHA-256 of each by name, and of those left out, for want of a data file, the reason.

    Raises:
        UsageError: Something else is there already.
    """
    digests, left_out = {}, {}
    for name in CHECKPOINTS:
        try:
            content = _made(name)
        except CannotJudge as error:
            left_out[name] = str(error)
            continue
        digests[name] = digest(content)
        target = folder / name
        if target.is_dir() and _on_disk(target) != digests[name]:
            raise UsageError(f"{target}: exists with another content; remove it or give another folder")
        if not target.is_dir():
            files.write_folder(target, content)
    return digests, left_out
