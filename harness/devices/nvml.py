"""NVIDIA's devices, as the driver's library (NVML) counts them.

The slices of a divided one (MIG) are devices, it is not.

Each question may fail on its own: a GPU that is lost does not hide the others, and memory that is not told does not
hide the processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pynvml

from harness.base.domain import Device, Tenant, Usage
from harness.devices.inventory import Inventory, Slot
from harness.devices.platform import DriverSilent

_NAMESPACE = Path("/proc/self/ns/pid")
_OF_THE_HOST = "pid:[4026531836]"
"""The first PID namespace: its number is a constant of the kernel (``PROC_PID_INIT_INO``)."""

_ABSENT = ("library not found", "not loaded")
_LOST = ("is lost", "requires restart", "requires reset", "reset required")
_REBOOT = "reset it (`nvidia-smi --gpu-reset`) or reboot; the kernel's log has its Xid"
_NEXT_STEPS = {
    "mismatch": "reboot, or load the driver's kernel modules anew, so that they and its libraries are of one version",
    "library not found": "a host with an NVIDIA GPU and its driver; a container must be given the GPUs",
    "not loaded": "load it (`modprobe nvidia`), or a host with an NVIDIA GPU",
    "permission": "let this user open /dev/nvidia*, in a container too",
    "blocked": "let this user open /dev/nvidia*, in a container too",
    **dict.fromkeys(_LOST, _REBOOT),
}
"""What to do, by a part of NVML's reason in lower case: the same in its own words and in those of its binding."""


def inventory() -> Inventory:
    """The accelerators by index, each as the devices that it consists of: itself, or its slices."""
    try:
        with driver_loaded():
            return Inventory(tuple(_accelerator(index) for index in range(int(pynvml.nvmlDeviceGetCount()))))
    except pynvml.NVMLError as error:
        absent = any(words in str(error).lower() for words in _ABSENT)
        return Inventory(problem=f"NVIDIA's driver: {error}", next_step=next_step(error), is_broken=not absent)


def next_step(error: Exception) -> str:
    """What to do about an error of NVML."""
    reason = str(error).lower()
    found = (step for words, step in _NEXT_STEPS.items() if words in reason)
    return next(found, "`nvidia-smi` and the kernel's log (`dmesg`) say more")


def usage(device: Device) -> Usage | None:
    """What a device is used for now; None where there is no driver to ask."""
    try:
        with driver_loaded():
            return _usage(device)
    except pynvml.NVMLError:
        return None


def driver() -> str:
    """Version of the driver; empty without one."""
    try:
        with driver_loaded():
            return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return ""


def newest_cuda() -> str:
    """Newest CUDA version that the driver supports, as in ``12.8``.

    Raises:
        DriverSilent: There is no driver, or it does not answer.
    """
    try:
        with driver_loaded():
            number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    except pynvml.NVMLError as error:
        raise DriverSilent(f"{error}; {next_step(error)}") from error
    return f"{number // 1000}.{number % 1000 // 10}"


@contextmanager
def driver_loaded() -> Iterator[None]:
    """In this block the driver can be asked.

    Raises:
        pynvml.NVMLError: There is none.
    """
    pynvml.nvmlInit()
    try:
        yield
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _usage(device: Device) -> Usage:
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(device.uuid)
    except pynvml.NVMLError as error:
        return Usage(None, None, str(error))
    memory: int | None = None
    tenants: tuple[Tenant, ...] | None = None
    unknown = []
    try:
        found = pynvml.nvmlDeviceGetMemoryInfo(handle)
        # Where the host's memory is the device's, some drivers say 0 of 0 instead of an error.
        memory = int(found.used) if int(found.total) else None
        unknown += [] if found.total else ["memory: none of its own"]
    except pynvml.NVMLError as error:
        unknown.append(f"memory: {error}")
    try:
        tenants = _tenants(handle)
    except pynvml.NVMLError as error:
        unknown.append(f"processes: {error}")
    if memory is None and tenants == () and not _sees_the_host():
        # An empty list says nothing here: the driver leaves out processes of other namespaces.
        tenants = None
        unknown.append("processes: those outside this process namespace cannot be seen")
    return Usage(memory, tenants, ", ".join(unknown))


def _tenants(handle: Any) -> tuple[Tenant, ...]:
    found = [
        Tenant(int(each.pid or 0), int(each.usedGpuMemory or 0))
        for each in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    ]
    return tuple(sorted(found, key=lambda each: each.pid))


def _sees_the_host() -> bool:
    try:
        return str(_NAMESPACE.readlink()) == _OF_THE_HOST
    except OSError:
        return False


def _accelerator(index: int) -> Slot:
    uuid = ""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = str(pynvml.nvmlDeviceGetUUID(handle))
        if not _is_divided(handle):
            return Slot((_device(handle, uuid, str(index)),), uuid)
        slices, problems = _slices(handle, uuid)
    except pynvml.NVMLError as error:
        return Slot((), uuid, f"device {index} cannot be used: {error}; {next_step(error)}")
    if not slices and not problems:
        problems = ["it is in MIG mode and has no instances; make some with `nvidia-smi mig -cgi`, or turn MIG off"]
    return Slot(tuple(slices), uuid, f"device {index}: {'; '.join(problems)}" if problems else "")


def _device(handle: Any, uuid: str, name: str, whole: str = "", aliases: tuple[str, ...] = ()) -> Device:
    """A device with what the driver says of it.

    Raises:
        pynvml.NVMLError: It is lost.
    """
    memory, product, capability = 0, "", ""
    try:
        memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError as error:
        if any(words in str(error).lower() for words in _LOST):
            raise
    with suppress(pynvml.NVMLError):
        product = str(pynvml.nvmlDeviceGetName(handle))
    with suppress(pynvml.NVMLError):
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        capability = f"{major}.{minor}"
    return Device(name, uuid, product, memory, whole=whole, aliases=aliases, architecture=capability)


def _is_divided(handle: Any) -> bool:
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError:
        return False  # cannot be divided
    return bool(current)


def _slices(handle: Any, whole: str) -> tuple[list[Device], list[str]]:
    """Slices of a divided accelerator, which CUDA knows by UUID alone, and what is wrong with others."""
    slices, problems = [], []
    for number in range(int(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))):
        try:
            found = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except pynvml.NVMLError as error:
            if "not found" not in str(error).lower():  # there may be fewer
                problems.append(f"slice {number}: {error}")
            continue
        try:
            uuid = str(pynvml.nvmlDeviceGetUUID(found))
            slices.append(_device(found, uuid, uuid, whole, _older_name(found, whole)))
        except pynvml.NVMLError as error:
            problems.append(f"slice {number}: {error}")
    return slices, problems


def _older_name(handle: Any, whole: str) -> tuple[str, ...]:
    """How drivers before 470 call a slice: by the instances that it is."""
    try:
        instances = pynvml.nvmlDeviceGetGpuInstanceId(handle), pynvml.nvmlDeviceGetComputeInstanceId(handle)
    except (pynvml.NVMLError, AttributeError):  # an older binding has no such question
        return ()
    return (f"MIG-{whole}/{instances[0]}/{instances[1]}",)
