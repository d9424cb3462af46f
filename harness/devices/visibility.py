"""Lists of visible devices, in what the rules of those who read them have in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.base.domain import Device

_NOBODY = re.compile(r"-\d+|NoDevFiles|", re.ASCII)
"""Entries that are meant to end a list: a negative number, what Slurm writes for no device, and nothing at all."""

Twice = Literal["empties", "ends", "is left out"]
"""What an entry does that comes a second time."""


@dataclass(frozen=True)
class Chosen:
    """What variables leave.

    Attributes:
        devices: In the order in which they are named.
        said: What is named and is not there, or cannot be used, one line each.
    """

    devices: tuple[Device, ...]
    said: tuple[str, ...] = ()


class NotThere(Exception):
    """An entry names nothing; the message is one line."""


class Unusable(NotThere):
    """An entry names something that is there and cannot be used."""


def unseen(entry: str) -> Device:
    return Device(name=entry, uuid=entry)


def listed(text: str, source: str, find: Callable[[str], Device], twice: Twice) -> Chosen:
    """The devices that a list names.

    Args:
        text: Value of the variable.
        source: Its name.
        find: The device of an entry; raises if there is none.
        twice: What an entry does that comes a second time.
    """
    found, said = dict[str, Device](), list[str]()
    entries = [entry.strip() for entry in text.split(",")]
    for position, entry in enumerate(entries):
        more = position + 1 < len(entries)
        if _NOBODY.fullmatch(entry):
            if not entry and any(entries[position:]):
                said.append(f"{source} has an empty entry, which ends the list")
            break
        try:
            device = find(entry)
        except Unusable as error:
            said.append(str(error))
            continue
        except NotThere as error:
            said.append(f"{error}; it ends the list" if found or more else str(error))
            break
        if device.uuid not in found:
            found[device.uuid] = device
        elif twice == "empties":
            return Chosen((), (f"{source} names device {entry} twice, which leaves no device at all",))
        elif twice == "ends":
            said.append(f"{source} names device {entry} twice, which ends the list")
            break
    return Chosen(tuple(found.values()), tuple(said))


def not_one(source: str, entry: str, count: int) -> NotThere:
    """That an entry is the beginning of the UUIDs of ``count`` devices."""
    what = "more than one device has" if count else "no device has"
    return NotThere(f"{source} names {entry}, and {what} a UUID that begins so")
