"""NVIDIA's accelerators: CUDA's rules for visible devices, device requests of containers, compatibility of drivers.

The rules are those of CUDA's programming guide (environment variables): indices or UUIDs, which may be cut short where
they stay unique; an entry that is none ends the list there, and one that comes twice empties it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from harness.base.domain import Device, Usage
from harness.devices import nvml, nvml_telemetry, visibility
from harness.devices.inventory import Inventory, Slot
from harness.devices.platform import Accelerator, Cdi, Fit, Sampler, Without
from harness.devices.visibility import Chosen, NotThere, Unusable

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"

_GIB = 1 << 30


class Cuda(Accelerator):
    """CUDA."""

    name = "cuda"
    title = "CUDA"
    vendor = "NVIDIA"
    host = "an NVIDIA GPU and its driver"
    variables = (VISIBLE,)
    read = (VISIBLE,)
    absent = "NVIDIA's driver shows none"
    container_variable = "NVIDIA_VISIBLE_DEVICES"
    cdi = Cdi("nvidia.com/gpu", "write a CDI spec with `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`")
    torch = "cuda"
    has_nixl_wheel = True
    environment_bytes = 15 * _GIB  # vLLM takes 9.5 GB
    image_bytes = 40 * _GIB  # ours takes 9.5 GB; the official ones are several times larger: an estimate

    def inventory(self) -> Inventory:
        return nvml.inventory()

    def chosen(self, environment: Mapping[str, str], there: Inventory) -> Chosen:
        if there.problem:
            return visibility.listed(environment.get(VISIBLE, ""), VISIBLE, visibility.unseen, "empties")
        return _left(environment, there.slots)

    def environment(self, names: Sequence[str], inherited: Mapping[str, str]) -> dict[str, str]:
        """Indices are the driver's, by PCI address. CUDA would sort the fastest to the front, if the devices differ."""
        return {VISIBLE: ",".join(names), ORDER: inherited.get(ORDER, "PCI_BUS_ID")}

    def usage(self, device: Device) -> Usage | None:
        return nvml.usage(device)

    def sampler(self, devices: Sequence[Device]) -> AbstractContextManager[Sampler]:
        return nvml_telemetry.sampler(devices)

    def driver(self) -> str:
        return nvml.driver()

    def supported(self) -> str:
        return nvml.newest_cuda()

    def fit(self, supported: str, built: str) -> Fit:
        """CUDA runs on a driver of its major version, whatever the minor one, and on every newer driver.

        Source: CUDA compatibility guide of NVIDIA, minor-version and backward compatibility.
        """
        if not built:
            return Fit(True, f"supports CUDA {supported}")
        if _major(built) > _major(supported):
            older = f"torch is built for CUDA {built}, the driver supports up to {supported}"
            return Fit(False, f"{older}: update the driver, or take a build for CUDA {_major(supported)}")
        return Fit(True, f"supports CUDA {supported}, torch is built for {built}")

    def in_cdi(self, device: Device, specs: Mapping[str, tuple[str, ...]]) -> str:
        """By UUID or index. The index of a slice would name something else, or the whole that it is cut from."""
        wanted = [device.uuid] if device.whole else [device.uuid, device.name]
        return next((name for each in wanted if (name := f"{self.cdi.kind}={each}") in specs), "")

    def without_cdi(self, devices: Sequence[Device]) -> Without:
        """A device request, which NVIDIA's toolkit answers."""
        ids = tuple(device.uuid for device in devices)
        return Without(
            gpus=ids,
            env={self.container_variable: ",".join(ids)},
            next_step="install nvidia-container-toolkit and restart the engine",
        )


def _left(environment: Mapping[str, str], there: Sequence[Slot]) -> Chosen:
    """What ``CUDA_VISIBLE_DEVICES`` leaves of ``there``. A divided accelerator stands for its first slice.

    Devices have the names that the variable gives them, if all are of one kind and mean the same to CUDA: it would
    not count what is lost, and may sort by speed. Otherwise they have UUIDs.
    """
    products = {device.product for each in there for device in each.devices}
    by_speed = environment.get(ORDER) == "FASTEST_FIRST" and len(products) > 1
    countable = not by_speed and all(each.devices or not each.problem for each in there)
    indices = {device.uuid: device.name for each in there for device in each.devices if not device.whole}
    if VISIBLE not in environment:
        everything = [device for each in there for device in each.devices]
        return Chosen(tuple(each if countable else replace(each, name=each.uuid) for each in everything))

    def find(entry: str) -> Device:
        if not entry.isdecimal():
            return replace(_by_uuid(entry, there), name=entry)
        if by_speed:
            raise NotThere(
                f"{VISIBLE} names device {entry}, and which one that is under {ORDER}=FASTEST_FIRST cannot be told of "
                f"GPUs that differ; name UUIDs, or set {ORDER}=PCI_BUS_ID"
            )
        if int(entry) >= len(there):
            raise NotThere(f"{VISIBLE} names device {entry}, and the driver shows {len(there)}")
        found = there[int(entry)]
        if not found.devices:
            raise Unusable(f"{VISIBLE} names device {entry}: {found.problem}")
        return found.devices[0] if found.devices[0].whole else replace(found.devices[0], name=entry)

    chosen = visibility.listed(environment[VISIBLE], VISIBLE, find, "empties")
    kinds = {each.name.isdecimal() for each in chosen.devices}
    if countable and len(kinds) < 2:
        return chosen
    names = indices if countable and all(each.uuid in indices for each in chosen.devices) else {}
    return replace(
        chosen, devices=tuple(replace(each, name=names.get(each.uuid, each.uuid)) for each in chosen.devices)
    )


def _by_uuid(entry: str, there: Sequence[Slot]) -> Device:
    """The device whose UUID begins so; of a divided accelerator the first slice."""
    whole = {each.uuid: each for each in there if each.uuid}
    lost = [each for uuid, each in whole.items() if uuid.startswith(entry) and not each.devices]
    by_device = [device for each in there for device in each.devices if _is_called(device, entry)]
    divided = [each.devices[0] for uuid, each in whole.items() if uuid.startswith(entry) and each.devices[:1]]
    found = {device.uuid: device for device in (*by_device, *(each for each in divided if each.whole))}
    if len(lost) == 1 and not found:
        raise Unusable(f"{VISIBLE} names {entry}: {lost[0].problem}")
    if len(found) + len(lost) != 1:
        raise visibility.not_one(VISIBLE, entry, len(found) + len(lost))
    return next(iter(found.values()))


def _is_called(device: Device, entry: str) -> bool:
    """Whether an entry is a UUID or the beginning of one; of ``MIG-GPU-…/1/0`` the UUID alone may be cut short."""
    if device.uuid.startswith(entry):
        return True
    beginning, slash, instances = entry.partition("/")
    wholes = (alias.partition("/") for alias in device.aliases)
    return any(whole.startswith(beginning) and slash and rest == instances for whole, _, rest in wholes)


def _major(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found.group()) if found else 0
