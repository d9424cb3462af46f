"""Folders of runs: made once, by one run, and never shared."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from harness.base.clock import utc_now
from harness.base.errors import UsageError, refused


def make_folder(path: Path, *, alone: bool = False) -> bool:
    """Make a folder that the caller named.

    Args:
        path: The folder.
        alone: Whether it must not be there yet: of several that make it at the same time, one succeeds.

    Returns:
        Whether it is there, and if ``alone``, made by this call.

    Raises:
        UsageError: It cannot be made.
        CannotJudge: The disk is full.
    """
    try:
        path.mkdir(parents=True, exist_ok=not alone)
    except OSError as error:
        if alone and isinstance(error, FileExistsError):
            return False
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise refused(error) from None
        raise UsageError(f"{path}: cannot be made: {error.strerror}; name a folder where you may write") from None
    return True


def make_new(below: Path) -> Path:
    """Make a folder that is named for the time, and for nothing else; of the same second, sorted as they came.

    Raises:
        UsageError: It cannot be made.
    """
    stamp = utc_now().strftime("%Y%m%dT%H%M%SZ")
    make_folder(below)
    for number in count(1):
        folder = below / (stamp if number == 1 else f"{stamp}-{number:03}")
        if make_folder(folder, alone=True):
            return folder
    raise AssertionError("numbers never end")


@contextmanager
def claimed(given: Path | None, below: Path, *, goes_on: str = "") -> Iterator[Path]:
    """The folder of a run, which no other run gets as long as the block lasts.

    Args:
        given: The caller's, new or empty; None for a new one.
        below: Where a new one is made.
        goes_on: Name of a file in the folder of a run that can be taken up again: with it, the folder need not be new.

    Raises:
        UsageError: It cannot be made, or it is not empty, or another run has it.
    """
    if given is not None:
        make_folder(given)
    folder = given or make_new(below)
    with _had(folder, "--runs must name a new or empty folder"):
        if any(folder.iterdir()) and not (goes_on and (folder / goes_on).is_file()):
            raise UsageError(f"{folder}: --runs must name a new or empty folder")
        yield folder


@contextmanager
def claimed_again(folder: Path) -> Iterator[Path]:
    """The folder of an earlier run, which no other run gets as long as the block lasts.

    Raises:
        UsageError: It is no folder, or a run that still goes on has it.
    """
    try:
        there = folder.is_dir()
    except OSError:
        there = False
    if not there:
        raise UsageError(f"{folder}: no folder there; name the one that `harness run` wrote into")
    with _had(folder, "`harness reap --end-running` ends it"):
        yield folder


@contextmanager
def _had(folder: Path, next_step: str) -> Iterator[None]:
    """Nothing is written for it, and the kernel lets go of it, however this process ends."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder}: another run has it; {next_step}") from None
        except OSError:
            pass  # a file system without locks: run directories are still made by one alone
        yield
    finally:
        os.close(handle)
