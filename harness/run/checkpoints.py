"""Known-answer checkpoints on disk."""

from __future__ import annotations

import os
from pathlib import Path

from harness.ground.errors import UsageError
from harness.mechanism import files
from harness.policy.known_answer.checkpoints import CHECKPOINTS, digest


def cache_folder(name: str) -> Path:
    """Where something is kept between runs: below the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inference-harness" / name


def _on_disk(folder: Path) -> str:
    return digest({file.name: file.read_bytes() for file in folder.iterdir()})


def cached(name: str) -> tuple[Path, str]:
    """Folder and SHA-256 of a checkpoint, made if it is missing and made anew if it was changed."""
    content = CHECKPOINTS[name].files()
    wanted = digest(content)
    folder = cache_folder("checkpoints") / f"{name}-{wanted[:12]}"
    if folder.is_dir() and _on_disk(folder) != wanted:
        files.remove_folder(folder)
    if not folder.is_dir():
        files.write_folder(folder, content)
    return folder, wanted


def make(folder: Path) -> dict[str, str]:
    """Write every checkpoint below ``folder``; returns their SHA-256 by name.

    Raises:
        UsageError: Something else is there already.
    """
    digests = {}
    for name, checkpoint in CHECKPOINTS.items():
        content = checkpoint.files()
        digests[name] = digest(content)
        target = folder / name
        if target.is_dir() and _on_disk(target) != digests[name]:
            raise UsageError(f"{target}: exists with another content; remove it or give another folder")
        if not target.is_dir():
            files.write_folder(target, content)
    return digests
