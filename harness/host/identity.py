"""Who a process is: its pid, its start in ticks since the boot, and the boot and namespace in which these count.

Nothing here reads a clock that somebody can set. A pid alone says nothing: it is given again after a while, means
another process after a reboot, and means another one in a container.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import psutil
from pydantic import ConfigDict, Field

_PROC = Path("/proc")
_BOOT = _PROC / "sys" / "kernel" / "random" / "boot_id"
_NAMESPACES = ("pid", "time")  # in a time namespace of its own a process counts ticks from another zero
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD

# While a process executes another program, its environment reads as empty.
_TRIES = 3
_TRY_AGAIN = 0.002


class Here(NamedTuple):
    """Where we are: what a pid and a start in ticks mean only together with."""

    boot: str
    namespace: str


def here() -> Here:
    """Boot and namespace of this process; empty where the kernel does not say."""
    found = []
    for kind in _NAMESPACES:
        with suppress(OSError):
            found.append(str((_PROC / "self" / "ns" / kind).readlink()))
    try:
        boot = _BOOT.read_text().strip()
    except OSError:
        boot = ""
    return Here(boot, " ".join(found))


@dataclass(frozen=True)
class Identity:
    """A process that can be told from every other one, earlier, later or elsewhere.

    Attributes:
        pid: Its pid.
        ticks: Its start, in clock ticks since the boot; 0 if unknown, as in what former versions wrote.
        boot: Id of the boot.
        namespace: The PID namespace in which the pid counts, and the time namespace in which the ticks do.
    """

    __pydantic_config__ = ConfigDict(extra="ignore")  # former versions recorded a wall-clock time instead of ticks

    pid: Annotated[int, Field(ge=0)]
    ticks: Annotated[int, Field(ge=0)] = 0
    boot: str = ""
    namespace: str = ""

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process that has this pid now, a zombie too.

        Raises:
            ProcessLookupError: There is none, or it cannot be seen.
        """
        found = see(pid)
        if found is None:
            raise ProcessLookupError(pid)
        return cls(**vars(found.identity))

    @classmethod
    def me(cls) -> Self:
        """This process."""
        return cls.of(os.getpid())

    @property
    def here(self) -> bool:
        """Whether it can be looked for from here."""
        return self.ticks > 0 and (self.boot, self.namespace) == here()

    @property
    def lives(self) -> bool:
        """Whether it is running, as far as it can be looked for. One that cannot be looked at may be."""
        if not self.here:
            return False
        found = see(self.pid)
        return self.same(found.identity) and not found.ended if found else _hidden(self.pid)

    def same(self, other: Identity) -> bool:
        """Whether both are the same process, whatever else is known of them."""
        return (self.pid, self.ticks, self.boot, self.namespace) == (
            other.pid,
            other.ticks,
            other.boot,
            other.namespace,
        )

    @property
    def as_name(self) -> str:
        """For the name of a file; :func:`from_name` reads it."""
        return f"{self.pid}.{self.ticks}.{self.boot}.{'-'.join(re.findall(r'[0-9]+', self.namespace))}"


NAME = r"(\d+)\.(\d+)\.([0-9a-f-]*)\.([0-9-]*)"
"""What :attr:`Identity.as_name` looks like."""


def from_name(parts: re.Match[str]) -> Identity:
    """The process in the name of a file, from a match of :data:`NAME`."""
    pid, ticks, boot, numbers = parts.groups()[:4]
    kinds = zip(_NAMESPACES, numbers.split("-"), strict=False)
    return Identity(int(pid), int(ticks), boot, " ".join(f"{kind}:[{number}]" for kind, number in kinds if number))


class Seen(NamedTuple):
    """A process as the kernel shows it at a moment.

    Attributes:
        identity: Which one.
        parent: Pid of its parent.
        group: Id of its process group.
        ended: Whether nothing of it runs any more. It is a zombie once its first thread has ended; until the last one
            has, its ports and its devices are in use.
        kernel: Whether it is a thread of the kernel.
    """

    identity: Identity
    parent: int
    group: int
    ended: bool
    kernel: bool


def see(pid: int, where: Here | None = None) -> Seen | None:
    """The process with this pid; None if there is none, or it cannot be looked at."""
    where = where or here()
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The second field is a name in brackets that may hold anything, brackets too. Numbers as in proc(5), from 3.
    fields = text[text.rindex(b")") + 2 :].split()
    state, parent, group, flags = fields[0], int(fields[1]), int(fields[2]), int(fields[6])
    threads, ticks = int(fields[17]), int(fields[19])
    ended = state in (b"Z", b"X", b"x") and threads <= 1
    return Seen(Identity(pid, ticks, *where), parent, group, ended, bool(flags & _KERNEL_THREAD))


def look() -> dict[int, Seen]:
    """Every process that can be seen, by its pid.

    Raises:
        OSError: ``/proc`` is that of another PID namespace: it shows other processes under our numbers.
    """
    if str((_PROC / "self").readlink()) != str(os.getpid()):
        raise OSError(f"{_PROC} belongs to another PID namespace; mount one of this namespace")
    where = here()
    found = (see(int(each.name), where) for each in _PROC.iterdir() if each.name.isdecimal())
    return {each.identity.pid: each for each in found if each}


def environments(processes: Iterable[Seen]) -> dict[int, dict[str, str]]:
    """Environments by pid; one that is not there is empty, or cannot be read: another user's."""
    wanted, found = {each.identity.pid for each in processes if not each.kernel}, dict[int, dict[str, str]]()
    for attempt in range(_TRIES):
        if attempt and wanted:
            time.sleep(_TRY_AGAIN)
        for pid in list(wanted):
            text = _environment(pid)
            if text != b"":
                wanted.remove(pid)
            if text:
                pairs = (os.fsdecode(each).partition("=") for each in text.split(b"\0"))
                found[pid] = {name: value for name, equals, value in pairs if equals}
    return found


def _environment(pid: int) -> bytes | None:
    """As the kernel shows it; None if it may not be read."""
    folder = _PROC / str(pid)
    text = _read(folder / "environ")
    if text is None or text:
        return text
    with suppress(OSError):  # the process may end meanwhile, and its folder with it
        # Where the first thread has ended, the others still have it.
        return next(filter(None, map(_read, folder.glob("task/*/environ"))), b"")
    return b""


def any_works_in(folder: Path) -> bool:
    """Whether a process that we may look at has its working directory in this folder."""
    for each in _PROC.glob("[0-9]*/cwd"):
        with suppress(OSError):  # it has ended, or is another user's
            if each.readlink().is_relative_to(folder):
                return True
    return False


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except PermissionError:
        return None
    except OSError:
        return b""


def _hidden(pid: int) -> bool:
    """Whether somebody has this pid whom we may not look at (``hidepid``)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def send(processes: Iterable[Identity], number: signal.Signals) -> None:
    """Send a signal to those of ``processes`` that still exist, and to nobody who has their pid by now."""
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            _send(process, number)


def _send(process: Identity, number: signal.Signals) -> None:
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except OSError:  # an old kernel, or a filter of system calls: then the pid could be reused in between
        if _is(process):
            os.kill(process.pid, number)
        return
    try:
        if _is(process):  # the handle stays that process's, whoever gets its pid
            signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def _is(process: Identity) -> bool:
    found = see(process.pid)
    return found is not None and found.identity.same(process)


def describe(process: Identity) -> str:
    """A process as reports name it."""
    try:
        return f"{psutil.Process(process.pid).name()} ({process.pid})"
    except psutil.Error:
        return f"a process ({process.pid})"
