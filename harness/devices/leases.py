"""Devices for one run alone: a lock for each, held by this process and gone with it, however it ends.

The kernel releases the lock of a process that was killed, so nobody has to tidy up. Runs of other users on the host
take the same locks. They are files in a folder that everybody may write to.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline, utc_now
from harness.base.domain import Device

FOLDER = "INFERENCE_HARNESS_LEASES"
"""Environment variable: where the locks are, if not in the host's usual place. All runs of a host must agree."""

_POLL = 1.0
_EVERYBODY = 0o1777
_LOCKS = Path("/run/lock")


class Refused(Exception):
    """Not enough devices are free; the message is one line."""


class Unusable(Exception):
    """The folder of the locks cannot be used; the message is one line."""


def acquire(
    devices: Sequence[Device],
    count: int,
    holder: str,
    folder: Path,
    *,
    foreign: Callable[[Device, str], str],
    wait: float,
    on_tick: Callable[[str], None],
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[list[Device], ExitStack]:
    """Take the first ``count`` of ``devices`` that are free: all at once or none, so that two runs never wait in turn.

    Args:
        devices: In order of preference.
        count: How many.
        holder: Who takes them, for others that ask.
        folder: Its run directory.
        foreign: Who uses a device without a lock, from the device and the run directory of whoever leased it last;
            empty if nobody.
        wait: Seconds until giving up.
        on_tick: Called with the reason while waiting.
        clock: For waiting.

    Returns:
        The devices, and what gives them back when it is closed.

    Raises:
        Refused: There are not so many, or too few became free in time.
        Unusable: Nothing can be locked here.
    """
    deadline = Deadline(wait, clock)
    since = utc_now().isoformat()
    about = {"pid": os.getpid(), "user": _user(), "since": since, "holder": holder, "folder": str(folder)}
    while True:
        held, found, refused = ExitStack(), list[Device](), list[str]()
        try:
            for device in devices:
                reason = "" if len(found) == count else _take(device, about, foreign, held)
                if len(found) < count and not reason:
                    found.append(device)
                elif reason:
                    refused.append(f"{device.name}: {reason}")
            if len(found) == count:
                return found, held.pop_all()
        finally:
            held.close()
        why = f"{len(found)} of {len(devices)} free; {'; '.join(refused)}"
        if deadline.passed:
            raise Refused(why)
        on_tick(f"waiting for {count} devices, {why}")
        clock.sleep(min(_POLL, deadline.remaining))


def refused(device: Device, foreign: Callable[[Device, str], str]) -> str:
    """Why a device cannot be had now; empty if it can. Takes nothing: what is free now may be taken the next moment.

    Raises:
        Unusable: Nothing can be locked here.
    """
    with ExitStack() as mine:
        shared = [uuid for uuid in (device.whole, device.uuid) if uuid]
        if held := next((uuid for uuid in shared if _lock(uuid, fcntl.LOCK_SH, mine) is None), ""):
            return f"leased by {_holder(held)}"
        return foreign(device, _said(device.uuid).get("folder", ""))


def _user() -> str:
    """Name of the user, or the number where it has no name: in containers, often."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _take(device: Device, about: Mapping[str, object], foreign: Callable[[Device, str], str], held: ExitStack) -> str:
    """Lock a device; why not, if it is taken. A slice shares the lock of its accelerator with the other slices."""
    with ExitStack() as mine:
        if device.whole and not _lock(device.whole, fcntl.LOCK_SH, mine):
            return f"leased with all of {device.whole} by {_holder(device.whole)}"
        file = _lock(device.uuid, fcntl.LOCK_EX, mine)
        if file is None:
            return f"leased by {_holder(device.uuid)}"
        if used := foreign(device, _said(device.uuid).get("folder", "")):
            return used
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(about).encode(), 0)
        held.enter_context(mine.pop_all())
        return ""


def _lock(uuid: str, kind: int, held: ExitStack) -> int | None:
    """A descriptor of the lock, which children do not inherit; None if somebody else has it."""
    file = _open(_path(uuid))
    held.callback(os.close, file)
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return file


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
                raise Unusable(f"{path}: {error.strerror}; name another folder by {FOLDER}") from error
            if flags & os.O_CREAT:
                os.fchmod(file, 0o666)  # whatever the umask: the next holder may be another user
            return file
    raise Unusable(f"{path}: cannot be created")


def _path(uuid: str) -> Path:
    given = os.environ.get(FOLDER)
    usual = _LOCKS if os.access(_LOCKS, os.W_OK) else Path(tempfile.gettempdir())
    folder = Path(given) if given else usual / "inference-harness"
    try:
        folder.mkdir(parents=True)
        folder.chmod(_EVERYBODY)
    except FileExistsError:
        pass
    except OSError as error:
        raise Unusable(f"{folder}: {error.strerror}; name another folder by {FOLDER}") from error
    return folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', uuid)}.lock"


def _holder(uuid: str) -> str:
    """Who has the lock, as it says itself; slices that share one say it in their own."""
    try:
        about = _said(uuid)
        return (
            f"{about['holder']} in {about['folder']} (pid {about['pid']}, {about['user']}, since {about['since'][:19]})"
        )
    except KeyError:
        return "somebody who does not say"


def _said(uuid: str) -> dict[str, str]:
    """What the last holder of a lock wrote about itself; nothing if there was none, or it was cut off."""
    try:
        found = json.loads(_path(uuid).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
