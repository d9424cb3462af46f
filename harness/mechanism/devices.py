"""Accelerators of this machine, and how a process is told which of them are its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from harness.ground.domain import VISIBLE_DEVICES, Device, Usage
from harness.mechanism import amd, nvidia

_ORDER = "CUDA_DEVICE_ORDER"


class NoSuchDevice(Exception):
    """A visible-devices variable names what is not there; the message is one line."""


def visible(platform: str) -> list[Device]:
    """The accelerators that this process may use: as its environment says, else all that the driver shows.

    Without a driver the names that the environment gives are all that is known of them.

    Args:
        platform: ``cpu`` has none.

    Raises:
        NoSuchDevice: The environment names one that is not there.
    """
    if platform not in VISIBLE_DEVICES:
        return []
    there = _listed(platform)
    given = os.environ.get(variable(platform))
    if given is None:
        return [device for devices in there for device in devices]
    names = [name.strip() for name in given.split(",") if name.strip()]
    if not there:
        return [Device(name=name, uuid=name) for name in names]
    return [_named(name, there, variable(platform)) for name in names]


def _listed(platform: str) -> list[list[Device]]:
    """Accelerators in the order of their indices, each as the devices that it consists of."""
    if platform == "cuda":
        return nvidia.listed()
    return [[device] for device in amd.listed()] if platform == "rocm" else []


def _named(name: str, there: Sequence[Sequence[Device]], source: str) -> Device:
    """The device that an index or the beginning of a UUID means; of a divided one, CUDA takes the first slice."""
    if name.isdigit():
        if int(name) < len(there):
            found = there[int(name)][0]
            return found if found.whole else Device(**{**vars(found), "name": name})
        raise NoSuchDevice(f"{source} names device {name}, and the driver shows {len(there)}")
    by_uuid = [device for devices in there for device in devices if device.uuid.startswith(name)]
    if len(by_uuid) != 1:
        what = "no device" if not by_uuid else "more than one device"
        raise NoSuchDevice(f"{source} names {name}, and {what} has a UUID that begins so")
    return Device(**{**vars(by_uuid[0]), "name": name})


def variable(platform: str) -> str:
    """The environment variable that names devices here.

    Of several the first that is set counts, and a server is given that one alone: two would be applied one after the
    other.
    """
    names = VISIBLE_DEVICES[platform]
    return next((name for name in names if name in os.environ), names[0])


def environment(platform: str, names: Sequence[str]) -> dict[str, str]:
    """Variables that make ``names`` the only devices of a process.

    Indices are the driver's, by PCI address. CUDA would sort the fastest to the front, if the devices differ.
    """
    order = {_ORDER: os.environ.get(_ORDER, "PCI_BUS_ID")} if platform == "cuda" else {}
    return {variable(platform): ",".join(names), **order}


def usage(platform: str, device: Device) -> Usage | None:
    """What a device is used for now; None where nobody can say."""
    return nvidia.usage(device) if platform == "cuda" else amd.usage(device)


def driver(platform: str) -> str:
    """Version of the platform's driver; empty where nobody says."""
    found = {"cuda": nvidia.driver, "rocm": amd.driver}.get(platform)
    return found() if found else ""


def hardware(platform: str) -> dict[str, str]:
    """Names of all accelerators here and the version of their driver, as far as the driver says."""
    counted = Counter(device.product for devices in _listed(platform) for device in devices if device.product)
    found = {"devices": ", ".join(f"{count} x {name}" for name, count in counted.items()), "driver": driver(platform)}
    return {name: value for name, value in found.items() if value}
