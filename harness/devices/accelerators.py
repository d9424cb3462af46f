"""Accelerators of this machine, and how a process is told which of them are its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.base.domain import VISIBLE_DEVICES, Device, Usage
from harness.devices import amd, nvidia, visibility
from harness.devices.inventory import Inventory

_NONE = {"cuda": "NVIDIA's driver shows none", "rocm": "the amdgpu driver shows none"}
_CONTAINER = "NVIDIA_VISIBLE_DEVICES"


class NoSuchDevice(Exception):
    """A visible-devices variable names what is not there, and nothing that is; the message is one line."""


@dataclass(frozen=True)
class Seen:
    """The accelerators that this process may use.

    Attributes:
        devices: In order.
        problem: Why there are none; empty if there are.
        next_step: What to do about that; empty where only another host helps.
        said: What is there and cannot be used, or named and not there, one line each.
        is_broken: Whether there is a driver that should say what there is, and does not.
        is_misnamed: Whether there are none because the environment names what is not there.
    """

    devices: tuple[Device, ...] = ()
    problem: str = ""
    next_step: str = ""
    said: tuple[str, ...] = ()
    is_broken: bool = False
    is_misnamed: bool = False


def look(platform: str) -> Seen:
    """The accelerators that this process may use: as its environment says, else all that the driver shows.

    Where the driver does not say, the names that the environment gives are all that is known of them.

    Args:
        platform: ``cpu`` has none.
    """
    if platform not in VISIBLE_DEVICES:
        return Seen()
    there = _inventory(platform)
    if there.problem or (platform == "rocm" and not there.accelerators):
        chosen, asked = visibility.named(os.environ, platform), False
    elif platform == "cuda":
        chosen, asked = visibility.cuda(os.environ, there.accelerators), True
    else:
        chosen, asked = visibility.rocm(os.environ, there.devices), True
    lost = [line for line in there.problems if not any(line in said for said in chosen.said)]
    said = (*chosen.said, *lost, *([there.problem] if there.problem else []))
    if chosen.devices:
        return Seen(chosen.devices, said=said, next_step=there.next_step, is_broken=there.is_broken)
    problem = "; ".join(said) or (_left_nothing(platform) if asked and there.devices else "") or _none(platform)
    broken = there.is_broken or bool(there.accelerators and not there.devices)
    return Seen((), problem, there.next_step, said, broken, bool(chosen.said) and not there.problem)


def visible(platform: str) -> list[Device]:
    """The devices of :func:`look`.

    Raises:
        NoSuchDevice: The environment names one that is not there, and none that is.
    """
    seen = look(platform)
    if seen.is_misnamed:
        raise NoSuchDevice(seen.problem)
    return list(seen.devices)


def _inventory(platform: str) -> Inventory:
    return nvidia.inventory() if platform == "cuda" else amd.inventory()


def _left_nothing(platform: str) -> str:
    """Which variable leaves none of the devices that are there."""
    names = (visibility.CUDA,) if platform == "cuda" else (visibility.ROCR, *visibility.HIP)
    given = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    return f"{' and '.join(given)} leaves none"


def _none(platform: str) -> str:
    given = os.environ.get(_CONTAINER)
    if platform == "cuda" and given in ("", "none", "void"):
        return f"{_NONE[platform]}: {_CONTAINER}={given} gives this container none"
    return _NONE[platform]


def variable(platform: str) -> str:
    """The environment variable that a server is given its devices with: the first that is set, else the preferred."""
    names = VISIBLE_DEVICES[platform]
    return next((name for name in names if name in os.environ), names[0])


def environment(platform: str, names: Sequence[str]) -> dict[str, str]:
    """Variables that make ``names`` the only devices of a process, whatever it inherits.

    Indices are the driver's, by PCI address. CUDA would sort the fastest to the front, if the devices differ.
    """
    name = variable(platform)
    if platform == "cuda":
        return {name: ",".join(names), visibility.ORDER: os.environ.get(visibility.ORDER, "PCI_BUS_ID")}
    if name != visibility.ROCR and visibility.ROCR in os.environ:
        # It is applied first, and the other one counts what it leaves.
        return {visibility.ROCR: ",".join(names), name: ",".join(str(index) for index in range(len(names)))}
    return {name: ",".join(names)}


def usage(platform: str, device: Device) -> Usage | None:
    """What a device is used for now; None where nobody can be asked."""
    return nvidia.usage(device) if platform == "cuda" else amd.usage(device)


def why_unknown(platform: str) -> str:
    """Why :func:`usage` knows nothing of a device."""
    found = _inventory(platform)
    return "; ".join(filter(None, (found.problem, found.next_step))) or "the driver says nothing of it"


def driver(platform: str) -> str:
    """Version of the platform's driver; empty where nobody says."""
    found = {"cuda": nvidia.driver, "rocm": amd.driver}.get(platform)
    return found() if found else ""


def hardware(platform: str) -> dict[str, str]:
    """Names of all accelerators here and the version of their driver, as far as the driver says."""
    there = _inventory(platform).devices if platform in VISIBLE_DEVICES else []
    counted = Counter(device.product for device in there if device.product)
    found = {"devices": ", ".join(f"{count} x {name}" for name, count in counted.items()), "driver": driver(platform)}
    return {name: value for name, value in found.items() if value}
