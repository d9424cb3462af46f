"""What visible-devices variables mean, by the rules of those who read them.

CUDA (programming guide, environment variables): indices or UUIDs, which may be cut short where they stay unique; an
entry that is none ends the list there, and one that comes twice empties it. ROCm (guide on GPU isolation):
``ROCR_VISIBLE_DEVICES`` first, with indices or ids, and an entry that comes twice ends the list; then
``HIP_VISIBLE_DEVICES``, or ``CUDA_VISIBLE_DEVICES`` in its place, or ``GPU_DEVICE_ORDINAL``, whose indices count what
the first one left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.base.domain import Device
from harness.devices.inventory import Accelerator

CUDA = "CUDA_VISIBLE_DEVICES"
ROCR = "ROCR_VISIBLE_DEVICES"
HIP = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
"""Variables that count what is left by ``ROCR_VISIBLE_DEVICES``; the first that is set counts."""
ORDER = "CUDA_DEVICE_ORDER"

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


class _NotThere(Exception):
    """An entry names nothing; the message is one line."""


class _Unusable(_NotThere):
    """An entry names something that is there and cannot be used."""


def cuda(environment: Mapping[str, str], there: Sequence[Accelerator]) -> Chosen:
    """What ``CUDA_VISIBLE_DEVICES`` leaves of ``there``. A divided accelerator stands for its first slice.

    Devices have the names that the variable gives them, if all are of one kind and mean the same to CUDA: it would
    not count what is lost, and may sort by speed. Otherwise they have UUIDs.
    """
    products = {device.product for each in there for device in each.devices}
    by_speed = environment.get(ORDER) == "FASTEST_FIRST" and len(products) > 1
    countable = not by_speed and all(each.devices or not each.problem for each in there)
    indices = {device.uuid: device.name for each in there for device in each.devices if not device.whole}
    if CUDA not in environment:
        everything = [device for each in there for device in each.devices]
        return Chosen(tuple(each if countable else replace(each, name=each.uuid) for each in everything))

    def find(entry: str) -> Device:
        if not entry.isdecimal():
            return replace(_by_uuid(entry, there), name=entry)
        if by_speed:
            raise _NotThere(
                f"{CUDA} names device {entry}, and which one that is under {ORDER}=FASTEST_FIRST cannot be told of "
                f"GPUs that differ; name UUIDs, or set {ORDER}=PCI_BUS_ID"
            )
        if int(entry) >= len(there):
            raise _NotThere(f"{CUDA} names device {entry}, and the driver shows {len(there)}")
        found = there[int(entry)]
        if not found.devices:
            raise _Unusable(f"{CUDA} names device {entry}: {found.problem}")
        return found.devices[0] if found.devices[0].whole else replace(found.devices[0], name=entry)

    chosen = _chosen(environment[CUDA], CUDA, find, "empties")
    kinds = {each.name.isdecimal() for each in chosen.devices}
    if countable and len(kinds) < 2:
        return chosen
    names = indices if countable and all(each.uuid in indices for each in chosen.devices) else {}
    return replace(
        chosen, devices=tuple(replace(each, name=names.get(each.uuid, each.uuid)) for each in chosen.devices)
    )


def rocm(environment: Mapping[str, str], there: Sequence[Device]) -> Chosen:
    """What the variables of ROCm leave of ``there``, which has them by name in its own order."""
    left, said = tuple(there), list[str]()
    whose = "the driver shows"
    if ROCR in environment:
        found = _chosen(environment[ROCR], ROCR, _finder(ROCR, left, whose), "ends")
        left, whose = found.devices, f"{ROCR} leaves"
        said += found.said
    name = next((each for each in HIP if each in environment), None)
    if name:
        found = _chosen(environment[name], name, _finder(name, left, whose), "is left out")
        left = found.devices
        said += found.said
    return Chosen(left, tuple(said))


def named(environment: Mapping[str, str], platform: str) -> Chosen:
    """The devices as the variables name them, where nobody says what there is."""
    if platform == "cuda":
        return _chosen(environment.get(CUDA, ""), CUDA, _unseen, "empties")
    first = _chosen(environment[ROCR], ROCR, _unseen, "ends") if ROCR in environment else None
    name = next((each for each in HIP if each in environment), None)
    if name is None:
        return first or Chosen(())
    find = _unseen if first is None else _finder(name, first.devices, f"{ROCR} leaves")
    return _chosen(environment[name], name, find, "is left out")


def _unseen(entry: str) -> Device:
    return Device(name=entry, uuid=entry)


def _chosen(text: str, source: str, find: Callable[[str], Device], twice: Twice) -> Chosen:
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
        except _Unusable as error:
            said.append(str(error))
            continue
        except _NotThere as error:
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


def _by_uuid(entry: str, there: Sequence[Accelerator]) -> Device:
    """The device whose UUID begins so; of a divided accelerator the first slice."""
    whole = {each.uuid: each for each in there if each.uuid}
    lost = [each for uuid, each in whole.items() if uuid.startswith(entry) and not each.devices]
    by_device = [device for each in there for device in each.devices if _is_called(device, entry)]
    divided = [each.devices[0] for uuid, each in whole.items() if uuid.startswith(entry) and each.devices[:1]]
    found = {device.uuid: device for device in (*by_device, *(each for each in divided if each.whole))}
    if len(lost) == 1 and not found:
        raise _Unusable(f"{CUDA} names {entry}: {lost[0].problem}")
    if len(found) + len(lost) != 1:
        raise _NotThere(_how_many(CUDA, entry, len(found) + len(lost)))
    return next(iter(found.values()))


def _is_called(device: Device, entry: str) -> bool:
    """Whether an entry is a UUID or the beginning of one; of ``MIG-GPU-…/1/0`` the UUID alone may be cut short."""
    if device.uuid.startswith(entry):
        return True
    beginning, slash, instances = entry.partition("/")
    wholes = (alias.partition("/") for alias in device.aliases)
    return any(whole.startswith(beginning) and slash and rest == instances for whole, _, rest in wholes)


def _finder(source: str, there: Sequence[Device], whose: str) -> Callable[[str], Device]:
    """Devices of AMD by index or by the beginning of their id, in any case of letters."""

    def find(entry: str) -> Device:
        if entry.isdecimal():
            if int(entry) < len(there):
                return there[int(entry)]
            raise _NotThere(f"{source} names device {entry}, and {whose} {len(there)}")
        called = [
            device
            for device in there
            if any(alias.upper().startswith(entry.upper()) for alias in device.aliases) and len(entry) > len("GPU-")
        ]
        if len(called) == 1:
            return called[0]
        raise _NotThere(_how_many(source, entry, len(called)))

    return find


def _how_many(source: str, entry: str, count: int) -> str:
    what = "more than one device has" if count else "no device has"
    return f"{source} names {entry}, and {what} a UUID that begins so"
