"""Files that runs of a host lock, in a folder that everybody may write to, and what their owners say in them.

The kernel releases the lock of a process that was killed, so what lives is told from what does not without a pid or a
clock. Runs of other users on the host use the same files.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import re
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from harness.base.clock import utc_now

FOLDER = "INFERENCE_HARNESS_LEASES"
"""Environment variable: where the locks are, if not in the host's usual place. All runs of a host must agree."""

_EVERYBODY = 0o1777
_LOCKS = Path("/run/lock")
_LARGEST = 1 << 16


class Unusable(Exception):
    """The folder of the locks cannot be used; the message is one line."""


@dataclass(frozen=True)
class Party:
    """Who has devices, or waits for some, as it says itself.

    Attributes:
        holder: What it runs.
        folder: Its run directory.
        pid, user: Its process, and whose that is.
        since: When it said so, in UTC: for people, nothing is computed from it.
    """

    holder: str
    folder: str
    pid: int
    user: str
    since: str

    @classmethod
    def me(cls, holder: str, folder: Path) -> Self:
        """This process."""
        return cls(holder, str(folder), os.getpid(), _user(), utc_now().isoformat())

    @classmethod
    def parse(cls, said: Any) -> Self | None:
        """From a document of whatever content; None if it does not say who."""
        try:
            return cls(**{each.name: said[each.name] for each in fields(cls)})
        except (TypeError, KeyError):
            return None

    def document(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.holder} in {self.folder} (pid {self.pid}, {self.user}, since {str(self.since)[:19]})"


def _user() -> str:
    """Name of the user, or the number where it has no name: in containers, often."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def folder() -> Path:
    """Where they all are; made, if it is not there.

    Raises:
        Unusable: It cannot be made.
    """
    given = os.environ.get(FOLDER)
    usual = _LOCKS if os.access(_LOCKS, os.W_OK) else Path(tempfile.gettempdir())
    path = Path(given) if given else usual / "inference-harness"
    try:
        path.mkdir(parents=True)
        path.chmod(_EVERYBODY)
    except FileExistsError:
        pass
    except OSError as error:
        raise unusable(path, error) from error
    return path


def path(folder: Path, uuid: str, part: str = "") -> Path:
    """The lock of a device, or of a part of it, in the folder of the locks, whatever the device is called."""
    return folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', uuid)}{part}.lock"


def unusable(path: Path, error: OSError) -> Unusable:
    """What the operating system refused, with the next step."""
    return Unusable(f"{path}: {error.strerror}; name another folder by {FOLDER}")


def lock(path: Path, kind: int, held: ExitStack) -> int | None:
    """A descriptor of the locked file, made if it is not there, which children do not inherit; None if others have it.

    Args:
        path: In the folder.
        kind: ``fcntl.LOCK_EX`` or ``fcntl.LOCK_SH``.
        held: Gives the lock back when it is closed.

    Raises:
        Unusable: It cannot be opened.
    """
    file = _open(path)
    held.callback(os.close, file)
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return file


def is_locked(path: Path) -> bool:
    """Whether somebody has it. For a moment it is locked for looking, so nobody may conclude anything from one try.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be opened.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def remove_unlocked(path: Path) -> None:
    """Remove a file that nobody has locked, if we may: in a folder for everybody, only our own."""
    with suppress(OSError), ExitStack() as held:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        held.callback(os.close, file)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another one may have got its name since it was opened. Whoever removes it has its lock, so it stays now.
        if os.path.samestat(os.fstat(file), path.stat(follow_symlinks=False)):
            path.unlink()


def say(file: int, document: dict[str, Any]) -> None:
    """Write what a file says, over what it said."""
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(document).encode(), 0)


def said(path: Path) -> Any:
    """What a file says; None if it is not there, was cut off, or is no file of ours."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return json.loads(os.read(file, _LARGEST))
        finally:
            os.close(file)
    except (OSError, ValueError, RecursionError):
        return None


def _open(path: Path) -> int:
    # Not created on opening what is there: in a folder for everybody the kernel refuses that for files of others
    # (fs.protected_regular), and that is why no library for locks does it here.
    for flags in (os.O_RDWR, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR):
        with suppress(FileNotFoundError, FileExistsError):
            try:
                file = os.open(path, flags | os.O_NOFOLLOW, 0o666)
            except OSError as error:
                if isinstance(error, FileNotFoundError | FileExistsError):
                    raise
                raise unusable(path, error) from error
            if flags & os.O_CREAT:
                os.fchmod(file, 0o666)  # whatever the umask: the next holder may be another user
            return file
    raise Unusable(f"{path}: cannot be created")
