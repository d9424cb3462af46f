"""The folder that holds loads: whose it is, one load at a time, and nothing of one that did not come to its end."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.base.errors import UsageError

MARK = "loaded.json"
"""In a load that is whole."""


def ours(into: Path) -> None:
    if into.exists() and not (into / "loads").is_dir() and any(each.name != ".lock" for each in into.iterdir()):
        raise UsageError(f"--into {into}: must be a new or empty folder, or one that holds a load")


def mark(folder: Path) -> str:
    try:
        return str(json.loads((folder / MARK).read_bytes())["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@contextmanager
def locked(into: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One load at a time, and nothing there of a load that was killed."""
    with (into / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{into}: another load is under way; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        _remove_unfinished(into)
        yield


def _remove_unfinished(into: Path) -> None:
    """What a killed load left. A load that was replaced has its mark, and stays."""
    for folder in (into / "loads").glob("*"):
        if not mark(folder):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in (*into.glob(".parts.*"), *into.glob("cache/*/checkpoints/.*"), *into.glob("huggingface/hub/*/*/.*")):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def made(into: Path) -> Iterator[None]:
    """The folder that holds everything; gone again if it was made for a bundle that turned out to be damaged."""
    new = [each for each in (into, *into.parents) if not each.exists()]
    into.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except UsageError:
        if new:
            with suppress(OSError):
                (into / ".lock").unlink(missing_ok=True)
                for each in (into / "loads", *new):
                    if each.exists():
                        each.rmdir()
        raise
