"""What NVIDIA's devices do, as NVML says it, and the Xids that their driver reports.

A slice (MIG) has memory of its own; load, power, temperature and Xids are those of the accelerator that it is cut from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

import pynvml

from harness.base.activity import Incident, Reading
from harness.base.domain import Device
from harness.devices import nvml
from harness.devices.platform import Sampler

T = TypeVar("T")

_OF_PROGRAMS = {
    13: "graphics engine exception",
    31: "memory page fault",
    43: "stopped processing",
    45: "preemptive clean-up",
    69: "graphics engine class error",
}
"""Xids that a program can cause. Source: NVIDIA, "Xid Errors", table of causes."""
_OF_DEVICES = {
    48: "double bit ECC error",
    61: "internal micro-controller breakpoint",
    62: "internal micro-controller halt",
    63: "row remapping event",
    64: "row remapping failure",
    74: "NVLink error",
    79: "fallen off the bus",
    92: "high rate of single bit ECC errors",
    94: "contained ECC error",
    95: "uncontained ECC error",
    119: "GSP RPC timeout",
    120: "GSP error",
}
_MOST = 100  # incidents of one look: a device that is dying reports without end


@contextmanager
def sampler(devices: Sequence[Device]) -> Iterator[Sampler]:
    """Asks NVML of these devices for as long as the block lasts.

    Raises:
        pynvml.NVMLError: There is no driver.
    """
    with nvml.driver_loaded(), ExitStack() as held:
        names: dict[str, list[str]] = {}
        handles = [(each, pynvml.nvmlDeviceGetHandleByUUID(each.uuid)) for each in devices]
        wholes = [pynvml.nvmlDeviceGetHandleByUUID(each.whole or each.uuid) for each in devices]
        for each in devices:
            names.setdefault(each.whole or each.uuid, []).append(each.name)
        events = _registered(
            {each.whole or each.uuid: whole for each, whole in zip(devices, wholes, strict=True)}, held
        )

        def read() -> list[Reading]:
            seen = _incidents(events) if events is not None else {}
            return [
                _reading(device, handle, whole, tuple(seen.get(device.whole or device.uuid, ())))
                for (device, handle), whole in zip(handles, wholes, strict=True)
            ]

        yield read


def _registered(wholes: dict[str, Any], held: ExitStack) -> Any:
    """A set of events that has every Xid from now on; None where the driver has none for us."""
    try:
        events = pynvml.nvmlEventSetCreate()
        held.callback(pynvml.nvmlEventSetFree, events)
        for handle in wholes.values():
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
    except pynvml.NVMLError:
        return None
    return events


def _incidents(events: Any) -> dict[str, list[Incident]]:
    """What was reported since the last look, by UUID of the accelerator."""
    found: dict[str, list[Incident]] = {}
    with suppress(pynvml.NVMLError):  # there is no more: a timeout
        for _ in range(_MOST):
            event = pynvml.nvmlEventSetWait(events, 0)
            uuid = str(pynvml.nvmlDeviceGetUUID(event.device))
            found.setdefault(uuid, []).append(_xid(int(event.eventData)))
    return found


def _xid(number: int) -> Incident:
    if number in _OF_PROGRAMS:
        return Incident(f"Xid {number} ({_OF_PROGRAMS[number]})", "")
    words = _OF_DEVICES.get(number)
    return Incident(f"Xid {number} ({words})" if words else f"Xid {number}", "device")


def _reading(device: Device, handle: Any, whole: Any, incidents: tuple[Incident, ...]) -> Reading:
    return Reading(
        source=f"device {device.name}",
        busy=_said(lambda: int(pynvml.nvmlDeviceGetUtilizationRates(whole).gpu) / 100),
        memory_bytes=_said(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)),
        power_watts=_said(lambda: int(pynvml.nvmlDeviceGetPowerUsage(whole)) / 1000),
        temperature_celsius=_said(lambda: float(pynvml.nvmlDeviceGetTemperature(whole, pynvml.NVML_TEMPERATURE_GPU))),
        incidents=incidents,
    )


def _said(ask: Callable[[], T]) -> T | None:
    """An answer; None where the device has none. Each question may fail on its own."""
    try:
        return ask()
    except pynvml.NVMLError:
        return None
