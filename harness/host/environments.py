"""The local engine environment: a virtual environment made from hash-locked requirements, once."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.host import files, processes

_STAMP = "installed.sha256"
_POLL = 0.5


@dataclass  # not frozen: Python writes into an exception that passes a context manager
class InstallFailed(Exception):
    """The install script ended with an error; ``output`` is all it wrote."""

    status: int
    output: str


def ensure(folder: Path, script: Path, requirements: Path, on_tick: Callable[[str], None]) -> tuple[Path, str]:
    """The interpreter of the environment in ``folder``, installed first if it is missing or its lock has changed.

    Args:
        folder: The virtual environment.
        script: ``sh SCRIPT PYTHON FOLDER REQUIREMENTS`` installs it.
        requirements: Folder of the locked requirement files.
        on_tick: Called at least once a second while installing.

    Returns:
        The interpreter, and the SHA-256 of script and requirements.

    Raises:
        InstallFailed: The script failed. The stamp is missing then, so the next call starts again.
    """
    wanted = files.digest(script, requirements)
    stamp, python = folder / _STAMP, folder / "bin" / "python"
    if installed(folder, wanted):
        return python, wanted
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(folder.with_name(f".{folder.name}.lock"), on_tick):
        if installed(folder, wanted):
            return python, wanted
        stamp.unlink(missing_ok=True)
        argv = ["sh", str(script), processes.own_interpreter(), str(folder), str(requirements)]
        status, output = processes.run(argv, on_tick=on_tick)
        if status != 0:
            raise InstallFailed(status, output)
        files.write(stamp, wanted + "\n")
        return python, wanted


@contextmanager
def _one_at_a_time(lock: Path, on_tick: Callable[[str], None]) -> Iterator[None]:
    """Two sessions that are started side by side on a new machine want the same environment."""
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                on_tick("another run is at it")
                time.sleep(_POLL)
        yield


def installed(folder: Path, wanted: str) -> bool:
    """Whether the environment is there, from the script and requirements with this SHA-256."""
    stamp = folder / _STAMP
    return stamp.is_file() and stamp.read_text().strip() == wanted and (folder / "bin" / "python").exists()
