"""The queue for devices: who wants some takes a ticket, and leaves alone what those with earlier tickets wait for.

So a run that wants many is not overtaken for ever by runs that want one, and what nobody waits for is free to take.
The first in the queue waits for nobody in it, so the queue moves as soon as devices come back.

A ticket is a file with a number, locked by whoever waits. It is written and locked under another name first, so that
it is whole and locked whenever it is there under its number. One that nobody has locked was left by a process that was
killed: it counts for nothing, and whoever may removes it.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.domain import Device
from harness.devices import lock_files
from harness.devices.lock_files import Party

_END, _PART = ".ticket", ".ticket-part"


@dataclass(frozen=True)
class Ticket:
    """A place in the queue.

    Attributes:
        number: The lower, the earlier.
        party: Who waits.
        count: How many devices it wants.
        share: Bytes of a device's memory that each is content with; 0: it wants whole devices.
        among: UUID of each device that would do, and of the accelerator that it is a slice of, or nothing.
    """

    number: int
    party: Party
    count: int
    among: tuple[tuple[str, str], ...]
    share: int = 0

    def wants(self, device: Device) -> bool:
        """Whether it may get this device, or a slice of it, or all that this is a slice of."""
        return any(
            uuid in (device.uuid, device.whole) or (whole != "" and whole == device.uuid) for uuid, whole in self.among
        )

    def __str__(self) -> str:
        return f"{self.party}, which waits for {wanted(self.count, self.share, '')}"


@dataclass(frozen=True)
class Place:
    """Our own ticket, for as long as we wait."""

    folder: Path
    number: int

    def ahead(self) -> list[Ticket]:
        """Who came before and still waits, in order."""
        return [each for each in waiting(self.folder) if each.number < self.number]


def wanted(count: int, share: int, devices: str = " devices") -> str:
    """What somebody waits for, in words."""
    return f"{count} x {share / 2**30:.0f} GiB" if share else f"{count}{devices}"


@contextmanager
def taken(folder: Path, devices: Sequence[Device], count: int, party: Party, share: int = 0) -> Iterator[Place]:
    """Stand in the queue as long as the block lasts.

    Args:
        folder: Of the locks.
        devices: Any of which would do.
        count: How many of them.
        party: Who waits.
        share: Bytes of a device's memory, if shares of so much will do; 0: whole devices.

    Raises:
        Unusable: No ticket can be made there.
    """
    among = [(each.uuid, each.whole) for each in devices]
    with ExitStack() as held:
        try:
            path = _numbered(folder, {**party.document(), "count": count, "share": share, "among": among}, held)
        except OSError as error:
            raise lock_files.unusable(folder, error) from error
        yield Place(folder, _number(path))


def waiting(folder: Path) -> list[Ticket]:
    """Everybody who waits, in order. What was left by those who were killed is removed."""
    found = []
    for path in sorted(folder.glob(f"[0-9]*{_END}"), key=_number):
        with suppress(OSError):  # it left meanwhile, or it is no file of ours
            if not lock_files.is_locked(path):
                lock_files.remove_unlocked(path)
            elif ticket := _read(path):
                found.append(ticket)
    return found


def first_for(device: Device, queue: Iterable[Ticket]) -> Ticket | None:
    """The first in the queue who may get a device; None if nobody may."""
    return next((each for each in queue if each.wants(device)), None)


def _numbered(folder: Path, document: dict[str, Any], held: ExitStack) -> Path:
    """Our ticket, with the number after the last one that is there."""
    for left in folder.glob(f"*{_PART}"):
        lock_files.remove_unlocked(left)
    while True:
        file, name = tempfile.mkstemp(dir=folder, suffix=_PART)
        with ExitStack() as mine:
            mine.callback(os.close, file)
            try:
                os.fchmod(file, 0o644)  # everybody is to see who waits
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock_files.say(file, document)
                path = _linked(folder, Path(name))
            except (BlockingIOError, FileNotFoundError):  # it was taken for one that somebody left
                continue
            finally:
                Path(name).unlink(missing_ok=True)
            mine.callback(path.unlink, missing_ok=True)  # before its lock is given back
            held.enter_context(mine.pop_all())
            return path


def _linked(folder: Path, part: Path) -> Path:
    """``part`` under a number of its own; of several that want the same one, one gets it."""
    while True:
        path = folder / f"{max(map(_number, folder.glob(f'[0-9]*{_END}')), default=0) + 1:09}{_END}"
        with suppress(FileExistsError):
            os.link(part, path)
            return path


def _number(path: Path) -> int:
    digits = path.name.removesuffix(_END)
    return int(digits) if digits.isdecimal() else 0


def _read(path: Path) -> Ticket | None:
    """What a ticket says; None if it does not say what it waits for: then nothing can be kept for it."""
    document = lock_files.said(path)
    party = Party.parse(document)
    if party is None:
        return None
    try:
        among = tuple((str(uuid), str(whole)) for uuid, whole in document["among"])
        return Ticket(_number(path), party, int(document["count"]), among, int(document.get("share", 0)))
    except (KeyError, TypeError, ValueError):
        return None
