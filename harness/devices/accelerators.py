"""Accelerators of this machine, by platform: which a process may use, and how it is told which are its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.base.domain import Device, Platform, Usage
from harness.base.errors import UsageError
from harness.base.settings import cut
from harness.devices.amd import Rocm
from harness.devices.cpu import Cpu
from harness.devices.nvidia import Cuda
from harness.devices.platform import Accelerator

ACCELERATORS: dict[str, Accelerator] = {each.name: each for each in (Cpu(), Cuda(), Rocm())}
"""Every platform by its name."""


class UnknownPlatform(LookupError):
    """There is no platform of that name: it is never taken for another one."""


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


def of(platform: Platform) -> Accelerator:
    """What the platform is.

    Raises:
        UnknownPlatform: There is none of that name.
    """
    if platform not in ACCELERATORS:
        raise UnknownPlatform(f"{platform} is none of {', '.join(ACCELERATORS)}")
    return ACCELERATORS[platform]


def named(given: str) -> Platform:
    """The platform that a caller names.

    Raises:
        UsageError: There is none of that name.
    """
    if given not in ACCELERATORS:
        raise UsageError(f"--platform {cut(given)}: must be one of {', '.join(ACCELERATORS)}")
    return ACCELERATORS[given].name


def look(platform: Platform) -> Seen:
    """The accelerators that this process may use: as its environment says, else all that the driver shows.

    Where the driver does not say, the names that the environment gives are all that is known of them.
    """
    accelerator = of(platform)
    if not accelerator.has_devices:
        return Seen()
    there = accelerator.inventory()
    chosen = accelerator.chosen(os.environ, there)
    lost = [line for line in there.problems if not any(line in said for said in chosen.said)]
    said = (*chosen.said, *lost, *([there.problem] if there.problem else []))
    if chosen.devices:
        return Seen(chosen.devices, said=said, next_step=there.next_step, is_broken=there.is_broken)
    problem = "; ".join(said) or (_left_nothing(accelerator) if there.devices else _none(accelerator))
    broken = there.is_broken or bool(there.slots and not there.devices)
    return Seen((), problem, there.next_step, said, broken, bool(chosen.said) and not there.problem)


def visible(platform: Platform) -> list[Device]:
    """The devices of :func:`look`.

    Raises:
        NoSuchDevice: The environment names one that is not there, and none that is.
    """
    seen = look(platform)
    if seen.is_misnamed:
        raise NoSuchDevice(seen.problem)
    return list(seen.devices)


def _left_nothing(accelerator: Accelerator) -> str:
    """Which variable leaves none of the devices that are there."""
    given = [f"{name}={os.environ[name]}" for name in accelerator.read if name in os.environ]
    return f"{' and '.join(given)} leaves none"


def _none(accelerator: Accelerator) -> str:
    """That the driver shows none, and which variable may be why."""
    variable = accelerator.container_variable
    given = os.environ.get(variable)
    why = f": {variable}={given} gives this container none" if given in ("", "none", "void") else ""
    return f"{accelerator.absent}{why}"


def on_paper(platform: Platform) -> str:
    """The visible-devices variable of a command line that is only shown; empty for a platform without devices."""
    return next(iter(of(platform).variables), "")


def environment(platform: Platform, names: Sequence[str]) -> dict[str, str]:
    """Variables that make ``names`` the only devices of a process, whatever it inherits."""
    return of(platform).environment(names, os.environ)


def usage(platform: Platform, device: Device) -> Usage | None:
    """What a device is used for now; None where nobody can be asked."""
    return of(platform).usage(device)


def why_unknown(platform: Platform) -> str:
    """Why :func:`usage` knows nothing of a device."""
    found = of(platform).inventory()
    return "; ".join(filter(None, (found.problem, found.next_step))) or "the driver says nothing of it"


def hardware(platform: Platform) -> dict[str, str]:
    """Names of all accelerators here and the version of their driver, as far as the driver says."""
    accelerator = of(platform)
    counted = Counter(device.product for device in accelerator.inventory().devices if device.product)
    devices = ", ".join(f"{count} x {name}" for name, count in counted.items())
    found = {"devices": devices, "driver": accelerator.driver()}
    return {name: value for name, value in found.items() if value}
