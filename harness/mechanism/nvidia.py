"""NVIDIA's devices, as the driver's library counts them. The slices of a divided one (MIG) are devices, it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pynvml

from harness.ground.domain import Device, Tenant, Usage


def listed() -> list[list[Device]]:
    """The accelerators in the order of their indices, each as the devices that it consists of: itself, or its slices.

    Empty without a driver.
    """
    try:
        with _driver():
            return [_devices(index) for index in range(int(pynvml.nvmlDeviceGetCount()))]
    except pynvml.NVMLError:
        return []


def usage(device: Device) -> Usage | None:
    """What a device is used for now; None where the driver does not say."""
    try:
        with _driver():
            handle = pynvml.nvmlDeviceGetHandleByUUID(device.uuid)
            memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
            tenants = [
                # A process in another process namespace has no number here.
                Tenant(int(each.pid), int(each.usedGpuMemory or 0))
                for each in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
                if each.pid
            ]
    except pynvml.NVMLError:
        return None
    return Usage(memory, tuple(sorted(tenants, key=lambda each: each.pid)))


def driver() -> str:
    """Version of the driver; empty without one."""
    try:
        with _driver():
            return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return ""


@contextmanager
def _driver() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _devices(index: int) -> list[Device]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    whole = _device(handle, str(index))
    return list(_slices(handle, whole.uuid)) or [whole]


def _device(handle: Any, name: str = "", whole: str = "") -> Device:
    uuid = str(pynvml.nvmlDeviceGetUUID(handle))
    memory = 0
    with suppress(pynvml.NVMLError):
        memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    return Device(
        name=name or uuid,
        uuid=uuid,
        product=str(pynvml.nvmlDeviceGetName(handle)),
        memory_bytes=memory,
        whole=whole,
    )


def _slices(handle: Any, whole: str) -> Iterator[Device]:
    """Slices of a divided accelerator, which CUDA knows by UUID alone; none of an accelerator in one piece."""
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
        most = int(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)) if current else 0
    except pynvml.NVMLError:
        return  # cannot be divided
    for number in range(most):
        with suppress(pynvml.NVMLError):  # there may be fewer
            yield _device(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number), whole=whole)
