"""Parts of a device's memory, for runs whose servers are content with one: so several have a device at a time.

A share is a numbered file beside the lock of the device, locked by who has it, which says who that is and how much. The
device's own lock is shared between them, so who wants the whole device waits for all of them. A share is said first and
counted then, so of two that come at once one at least sees the other, and there are never too many.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from harness.base.domain import Device
from harness.devices import lock_files
from harness.devices.lock_files import Party

_PART = ".share-"
_RESERVE = 1 << 30
"""Bytes of a device that drivers keep for themselves; nobody gets these."""


@dataclass(frozen=True)
class Share:
    """Who has a part of a device.

    Attributes:
        memory_bytes: At most, of the device's memory.
    """

    party: Party
    memory_bytes: int

    def document(self) -> dict[str, Any]:
        """For a file."""
        return {**self.party.document(), "memory_bytes": self.memory_bytes}

    @classmethod
    def parse(cls, said: Any) -> Share | None:
        """From a document of whatever content; None if it does not say who has how much."""
        party = Party.parse(said)
        amount = said["memory_bytes"] if party and "memory_bytes" in said else None
        return cls(party, amount) if party and isinstance(amount, int) else None

    def __str__(self) -> str:
        return f"{self.party}, {self.memory_bytes / 2**30:.0f} GiB"


def capacity(device: Device) -> int:
    """Bytes that all shares of a device may be together; 0 where nobody knows how much memory it has."""
    return max(0, device.memory_bytes - _RESERVE)


def fit(devices: Iterable[Device], amount: int) -> int:
    """How many shares of ``amount`` bytes there is room for, if nobody else has any."""
    return sum(capacity(each) // amount for each in devices)


def distinct(devices: Iterable[Device]) -> list[Device]:
    """Each of the devices once, where several servers have a share of one."""
    return list(dict.fromkeys(devices))


def held(folder: Path, device: Device) -> list[Share]:
    """The shares of a device that somebody has. One whose file cannot be read takes all of it."""
    found = (share for path in _files(folder, device) if (share := _held(path, device)))
    return list(found)


def left(folder: Path, device: Device) -> list[str]:
    """Run directories of those who had a share last, each once: what they started may be there still."""
    documents = [lock_files.said(path) for path in _files(folder, device) if not _is_locked(path)]
    return list(dict.fromkeys(party.folder for each in documents if (party := Party.parse(each))))


def forget_left(folder: Path, device: Device) -> None:
    """Nothing of those who had a share last is there any more."""
    for path in _files(folder, device):
        with ExitStack() as mine:
            file = None if lock_files.said(path) in (None, {}) else lock_files.lock(path, fcntl.LOCK_EX, mine)
            if file is not None:
                lock_files.say(file, {})


def claim(folder: Path, device: Device, share: Share, held: ExitStack, undo: ExitStack) -> str:
    """Say that we have a share, in a file of its own, if there is room for it beside the others.

    Args:
        folder: Of the locks.
        device: Whose memory it is of; its own lock is ours already, together with others.
        share: What we say.
        held: Gives it back when it is closed.
        undo: Lets its file say what it said before when it is closed, which must be before ``held`` is.

    Returns:
        Why there is no room; empty if it is ours.
    """
    for number in count():
        path = lock_files.path(folder, device.uuid, f"{_PART}{number}")
        with ExitStack() as mine:
            file = lock_files.lock(path, fcntl.LOCK_EX, mine)
            if file is None:
                continue
            before = lock_files.said(path) or {}  # of whom there may be servers
            lock_files.say(file, share.document())
            others = [each for other in _files(folder, device) if other != path and (each := _held(other, device))]
            if full := full_with(device, others, share.memory_bytes):
                lock_files.say(file, before)
                return full
            undo.callback(lock_files.say, file, before)
            held.enter_context(mine.pop_all())
            return ""
    raise AssertionError("numbers do not end")


def full_with(device: Device, others: Sequence[Share], amount: int) -> str:
    """Why there is no room for another share; empty if there is."""
    if sum(each.memory_bytes for each in others) + amount <= capacity(device):
        return ""
    room = f"{amount / 2**30:.0f} of {capacity(device) / 2**30:.0f} GiB wanted"
    return f"{room}, shared by {'; '.join(map(str, others))}" if others else room


def _files(folder: Path, device: Device) -> Iterator[Path]:
    return iter(sorted(folder.glob(lock_files.path(folder, device.uuid, f"{_PART}*").name)))


def _held(path: Path, device: Device) -> Share | None:
    if not _is_locked(path):
        return None
    unknown = Party("somebody who does not say", "", 0, "", "")
    return Share.parse(lock_files.said(path)) or Share(unknown, capacity(device))


def _is_locked(path: Path) -> bool:
    with suppress(OSError):
        return lock_files.is_locked(path)
    return False
