"""Devices for one run alone: a lock for each, held by this process and gone with it, however it ends.

The kernel releases the lock of a process that was killed, so nobody has to tidy up. Who comes first is served first:
:mod:`harness.devices.tickets`.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline
from harness.base.domain import Device
from harness.devices import lock_files, tickets
from harness.devices.lock_files import FOLDER, Party, Unusable
from harness.devices.tickets import Ticket

__all__ = ["FOLDER", "Party", "Refused", "Unusable", "acquire", "holder", "is_leased", "refused"]

_POLL = 0.5
_GLANCE = 0.1
"""Seconds until a second look, for those too who do not wait: a lock may have been held by somebody who only looked."""
_DECIDES = 5.0
"""Seconds that who does not wait gives those who came before, who may not wait either, to take what they want or go."""


class Refused(Exception):
    """Not enough devices are free; the message is one line."""


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

    What those want who came before, and still wait, is not free.

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
    deadline, decided = Deadline(max(wait, _GLANCE), clock), Deadline(_DECIDES, clock)
    me = Party.me(holder, folder)
    with tickets.taken(lock_files.folder(), devices, count, me) as place:
        while True:
            with ExitStack() as held:
                ahead = place.ahead()
                found, refused = _look(devices, count, me, place.folder, ahead, foreign, held)
                if len(found) == count:
                    return found, held.pop_all()
            why = f"{len(found)} of {len(devices)} free; {_said(refused)}"
            in_turn = refused.keys() == {each.name for each in devices if _kept(each, ahead)}
            if deadline.passed and (decided.passed or not in_turn):
                raise Refused(why)
            on_tick(f"waiting for {count} devices, {why}")
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


def refused(device: Device, foreign: Callable[[Device, str], str]) -> str:
    """Why a device cannot be had now; empty if it can. Takes nothing: what is free now may be taken the next moment.

    Args:
        device: Which one.
        foreign: As of :func:`acquire`.

    Raises:
        Unusable: The folder of the locks cannot be used.
    """
    folder = lock_files.folder()
    if found := next(_locked(device), None):
        return f"leased by {_says(found)}"
    last = Party.parse(lock_files.said(_path(folder, device.uuid)))
    return _kept(device, tickets.waiting(folder)) or foreign(device, last.folder if last else "")


def _locked(device: Device) -> Iterator[Path]:
    """Its lock, and that of what it is a slice of, where somebody has it exclusively; slices share the latter."""
    folder = lock_files.folder()
    for uuid in filter(None, (device.uuid, device.whole)):
        path = _path(folder, uuid)
        with suppress(OSError):
            if lock_files.is_locked(path):
                yield path


def _look(
    devices: Sequence[Device],
    count: int,
    me: Party,
    folder: Path,
    ahead: Sequence[Ticket],
    foreign: Callable[[Device, str], str],
    held: ExitStack,
) -> tuple[list[Device], dict[str, str]]:
    """What was taken, and by name of the device why the others were not."""
    found, refused = list[Device](), dict[str, str]()
    for device in devices:
        if len(found) == count:
            break
        if reason := _kept(device, ahead) or _take(folder, device, me, foreign, held):
            refused[device.name] = reason
        else:
            found.append(device)
    return found, refused


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


def _take(folder: Path, device: Device, me: Party, foreign: Callable[[Device, str], str], held: ExitStack) -> str:
    """Lock a device; why not, if it is taken. A slice shares the lock of its accelerator with the other slices."""
    with ExitStack() as mine:
        if device.whole and lock_files.lock(_path(folder, device.whole), fcntl.LOCK_SH, mine) is None:
            return f"leased with all of {device.whole} by {_holder(folder, device.whole)}"
        path = _path(folder, device.uuid)
        file = lock_files.lock(path, fcntl.LOCK_EX, mine)
        if file is None:
            return f"leased by {_holder(folder, device.uuid)}"
        last = Party.parse(lock_files.said(path))
        if used := foreign(device, last.folder if last else ""):
            return used
        lock_files.say(file, me.document())
        held.enter_context(mine.pop_all())
        return ""


def _path(folder: Path, uuid: str) -> Path:
    return folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', uuid)}.lock"


def _holder(folder: Path, uuid: str) -> str:
    """Who has the lock, as it says itself; slices that share one say it in their own."""
    return _says(_path(folder, uuid))


def _says(lock: Path) -> str:
    return str(Party.parse(lock_files.said(lock)) or "somebody who does not say")
