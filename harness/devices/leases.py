"""Devices for one run alone, or shares of them: locks held by this process and gone with it, however it ends.

The kernel releases the lock of a process that was killed, so nobody has to tidy up. Who comes first is served first:
:mod:`harness.devices.tickets`.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline
from harness.base.domain import Device
from harness.devices import device_shares, lock_files, tickets
from harness.devices.device_shares import Share
from harness.devices.lock_files import FOLDER, Party, Unusable
from harness.devices.tickets import Ticket

__all__ = [
    "FOLDER",
    "Foreign",
    "Party",
    "Refused",
    "Unusable",
    "acquire",
    "holder",
    "is_leased",
    "refused",
    "shared",
]

_POLL = 0.5
_GLANCE = 0.1
"""Seconds until a second look, for those too who do not wait: a lock may have been held by somebody who only looked."""
_DECIDES = 5.0
"""Seconds that who does not wait gives those who came before, who may not wait either, to take what they want or go."""


Foreign = Callable[[Device, Sequence[str], Sequence[Share]], str]
"""Who uses a device without a lease, from the device, the run directories of whoever leased it last, and the shares of
it that are leased; empty if nobody does."""


class Refused(Exception):
    """Not enough devices are free; the message is one line."""


def acquire(
    devices: Sequence[Device],
    count: int,
    holder: str,
    folder: Path,
    *,
    foreign: Foreign,
    wait: float,
    on_tick: Callable[[str], None],
    clock: Clock = SYSTEM_CLOCK,
    share: int = 0,
) -> tuple[list[Device], ExitStack]:
    """Take the first ``count`` of ``devices`` that are free: all at once or none, so that two runs never wait in turn.

    What those want who came before, and still wait, is not free. Shares are taken of as many devices as will do, of
    those first that others share already, so that whole devices stay whole.

    Args:
        devices: In order of preference.
        count: How many.
        holder: Who takes them, for others that ask.
        folder: Its run directory.
        foreign: Who uses a device without a lease.
        wait: Seconds until giving up.
        on_tick: Called with the reason while waiting.
        clock: For waiting.
        share: Bytes of a device's memory, if ``count`` shares of so much will do; 0: whole devices.

    Returns:
        The devices, one that has several of the shares as often, and what gives them back when it is closed.

    Raises:
        Refused: There are not so many, or too few became free in time.
        Unusable: Nothing can be locked here.
    """
    deadline, decided = Deadline(max(wait, _GLANCE), clock), Deadline(_DECIDES, clock)
    me = Party.me(holder, folder)
    wanted = tickets.wanted(count, share)
    with tickets.taken(lock_files.folder(), devices, count, me, share) as place:
        while True:
            with ExitStack() as held, ExitStack() as undo:
                ahead = place.ahead()
                look = _Look(place.folder, me, ahead, foreign, held, undo)
                found, refused = look.for_shares(devices, count, share) if share else look.for_whole(devices, count)
                if len(found) == count:
                    undo.pop_all()
                    return found, held.pop_all()
            why = f"{len(found)} of {count if share else len(devices)} free; {_said(refused)}"
            in_turn = refused.keys() == {each.name for each in devices if _kept(each, ahead)}
            if deadline.passed and (decided.passed or not in_turn):
                raise Refused(why)
            on_tick(f"waiting for {wanted}, {why}")
            clock.sleep(_GLANCE if in_turn else min(_POLL, max(deadline.remaining, _GLANCE)))


def holder(device: Device) -> Party | None:
    """Who has a device, or all that it is a slice of; None if nobody has, or whoever has does not say.

    Raises:
        Unusable: The folder of the locks cannot be used.
    """
    found = next(_locked(device), None)
    return Party.parse(lock_files.said(found)) if found else None


def is_leased(device: Device) -> bool:
    """Whether somebody has a device, or all that it is a slice of, or a slice of it.

    Raises:
        Unusable: The folder of the locks cannot be used.
    """
    return any(_locked(device))


def shared(device: Device) -> list[Share]:
    """The shares of a device that somebody has.

    Raises:
        Unusable: The folder of the locks cannot be used.
    """
    return device_shares.held(lock_files.folder(), device)


def refused(device: Device, foreign: Foreign, share: int = 0) -> str:
    """Why a device cannot be had now; empty if it can. Takes nothing: what is free now may be taken the next moment.

    Args:
        device: Which one.
        foreign: As of :func:`acquire`.
        share: Bytes, where a share of so much will do; 0: all of the device.

    Raises:
        Unusable: The folder of the locks cannot be used.
    """
    folder = lock_files.folder()
    if found := next(_locked(device), None):
        return f"leased by {_says(found)}"
    there = device_shares.held(folder, device)
    full = device_shares.full_with(device, there, share) if share else _all_shared(there)
    return full or _kept(device, tickets.waiting(folder)) or foreign(device, _last(folder, device), there)


def _locked(device: Device) -> Iterator[Path]:
    """Its lock, and that of what it is a slice of, where somebody has it exclusively; slices share the latter."""
    folder = lock_files.folder()
    for uuid in filter(None, (device.uuid, device.whole)):
        path = lock_files.path(folder, uuid)
        with suppress(OSError):
            if lock_files.is_locked(path):
                yield path


@dataclass(frozen=True)
class _Look:
    """One look at devices, which takes what is free of them.

    Attributes:
        folder: Of the locks.
        me: Who looks.
        ahead: Who came before, and waits.
        foreign: Who uses a device without a lease.
        held: Gives back what was taken.
        undo: Lets locks say what they said before; closed first, unless all is there.
    """

    folder: Path
    me: Party
    ahead: Sequence[Ticket]
    foreign: Foreign
    held: ExitStack
    undo: ExitStack

    def for_whole(self, devices: Sequence[Device], count: int) -> tuple[list[Device], dict[str, str]]:
        """What was taken, and by name of the device why the others were not."""
        found, refused = list[Device](), dict[str, str]()
        for device in devices:
            if len(found) == count:
                break
            if reason := _kept(device, self.ahead) or self._take(device):
                refused[device.name] = reason
            else:
                found.append(device)
        return found, refused

    def for_shares(self, devices: Sequence[Device], count: int, amount: int) -> tuple[list[Device], dict[str, str]]:
        """The same for shares of so many bytes: each of another device, if there is room, else several of one."""
        found, refused = list[Device](), dict[str, str]()
        for _ in range(count):
            for device in sorted(
                devices, key=lambda each: (found.count(each), not device_shares.held(self.folder, each))
            ):
                if reason := _kept(device, self.ahead) or self._take_share(device, amount):
                    refused[device.name] = reason
                else:
                    found.append(device)
                    break
            else:
                break
        return found, refused

    def _take(self, device: Device) -> str:
        """Lock a device; why not, if it is taken. A slice shares the lock of its accelerator with the other slices."""
        folder = self.folder
        with ExitStack() as mine:
            if device.whole and lock_files.lock(lock_files.path(folder, device.whole), fcntl.LOCK_SH, mine) is None:
                return f"leased with all of {device.whole} by {_holder(folder, device.whole)}"
            path = lock_files.path(folder, device.uuid)
            file = lock_files.lock(path, fcntl.LOCK_EX, mine)
            if file is None:
                return _all_shared(device_shares.held(folder, device)) or f"leased by {_holder(folder, device.uuid)}"
            if used := self.foreign(device, _last(folder, device), ()):
                return used
            self.undo.callback(lock_files.say, file, lock_files.said(path) or {})
            lock_files.say(file, self.me.document())
            device_shares.forget_left(folder, device)
            self.held.enter_context(mine.pop_all())
            return ""

    def _take_share(self, device: Device, amount: int) -> str:
        """Take a share of a device; why not, if somebody has all of it or there is no room."""
        folder = self.folder
        with ExitStack() as mine:
            for uuid in filter(None, (device.whole, device.uuid)):
                if lock_files.lock(lock_files.path(folder, uuid), fcntl.LOCK_SH, mine) is None:
                    return f"leased by {_holder(folder, uuid)}"
            there = device_shares.held(folder, device)
            reason = device_shares.full_with(device, there, amount) or self.foreign(
                device, _last(folder, device), there
            )
            if reason := reason or device_shares.claim(folder, device, Share(self.me, amount), mine, self.undo):
                return reason
            self.held.enter_context(mine.pop_all())
            return ""


def _kept(device: Device, ahead: Sequence[Ticket]) -> str:
    """For whom a device is kept that came before; empty if for nobody."""
    first = tickets.first_for(device, ahead)
    return f"kept for {first}" if first else ""


def _said(refused: Mapping[str, str]) -> str:
    """Every reason once, with the devices that it is of."""
    names: dict[str, list[str]] = {}
    for name, reason in refused.items():
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(each)}: {reason}" for reason, each in names.items())


def _last(folder: Path, device: Device) -> list[str]:
    """Run directories of those who had a device, or a share of it, and have not any more."""
    party = Party.parse(lock_files.said(lock_files.path(folder, device.uuid)))
    return list(dict.fromkeys([*([party.folder] if party else []), *device_shares.left(folder, device)]))


def _all_shared(there: Sequence[Share]) -> str:
    """That nobody can have all of a device; empty if nobody has a share of it."""
    return f"shared by {'; '.join(map(str, there))}" if there else ""


def _holder(folder: Path, uuid: str) -> str:
    """Who has the lock, as it says itself; slices that share one say it in their own."""
    return _says(lock_files.path(folder, uuid))


def _says(lock: Path) -> str:
    return str(Party.parse(lock_files.said(lock)) or "somebody who does not say")
