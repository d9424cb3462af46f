"""AMD's accelerators: ROCm's rules for visible devices, and the device nodes that a container needs.

The rules are those of ROCm's guide on GPU isolation: ``ROCR_VISIBLE_DEVICES`` first, with indices or ids, and an entry
that comes twice ends the list; then ``HIP_VISIBLE_DEVICES``, or ``CUDA_VISIBLE_DEVICES`` in its place, or
``GPU_DEVICE_ORDINAL``, whose indices count what the first one left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from harness.base.domain import Device, Usage
from harness.devices import amdgpu, amdgpu_telemetry, visibility
from harness.devices.inventory import Inventory
from harness.devices.platform import Accelerator, Cdi, Fit, Sampler, Without
from harness.devices.visibility import Chosen, NotThere

_ROCR = "ROCR_VISIBLE_DEVICES"
_HIP = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
"""Variables that count what is left by ``ROCR_VISIBLE_DEVICES``; the first that is set counts."""

_GIB = 1 << 30


class Rocm(Accelerator):
    """ROCm."""

    name = "rocm"
    title = "ROCm"
    vendor = "AMD"
    host = "an AMD GPU and the amdgpu driver"
    variables = ("HIP_VISIBLE_DEVICES", _ROCR, "CUDA_VISIBLE_DEVICES")
    read = (_ROCR, *_HIP)
    absent = "the amdgpu driver shows none"
    container_variable = "AMD_VISIBLE_DEVICES"
    cdi = Cdi("amd.com/gpu", "write a CDI spec with `amd-ctk cdi generate --output=/etc/cdi/amd.json`")
    torch = "hip"
    has_nixl_wheel = False  # that of the package index is for CUDA; a build for ROCm has to be in the base
    environment_bytes = 30 * _GIB  # an estimate
    image_bytes = 60 * _GIB  # an estimate

    def inventory(self) -> Inventory:
        return amdgpu.inventory()

    def chosen(self, environment: Mapping[str, str], there: Inventory) -> Chosen:
        """A container may hide the topology; then the names that the environment gives are all that is known."""
        name = next((each for each in _HIP if each in environment), None)
        seen = bool(there.slots)
        left, said = Chosen(tuple(there.devices)), tuple[str, ...]()
        whose = "the driver shows" if seen else ""
        if _ROCR in environment:
            left = visibility.listed(environment[_ROCR], _ROCR, _finder(_ROCR, left.devices, whose), "ends")
            whose, said = f"{_ROCR} leaves", left.said
        if name:
            left = visibility.listed(environment[name], name, _finder(name, left.devices, whose), "is left out")
            said = (*said, *left.said)
        return Chosen(left.devices, said)

    def environment(self, names: Sequence[str], inherited: Mapping[str, str]) -> dict[str, str]:
        name = self.variable(inherited)
        if name != _ROCR and _ROCR in inherited:
            # It is applied first, and the other one counts what it leaves.
            return {_ROCR: ",".join(names), name: ",".join(str(index) for index in range(len(names)))}
        return {name: ",".join(names)}

    def usage(self, device: Device) -> Usage | None:
        return amdgpu.usage(device)

    def sampler(self, devices: Sequence[Device]) -> AbstractContextManager[Sampler]:
        return amdgpu_telemetry.sampler(devices)

    def driver(self) -> str:
        return amdgpu.driver()

    def supported(self) -> str:
        return amdgpu.loaded()

    def fit(self, supported: str, built: str) -> Fit:
        """A person compares the two with AMD's user and kernel-space support matrix.

        AMD supports two releases of ROCm to either side, and the version of its driver does not say which release it
        is of.
        """
        return Fit(True, f"{supported}, torch is built for HIP {built}" if built else supported)

    def in_cdi(self, device: Device, specs: Mapping[str, tuple[str, ...]]) -> str:
        """AMD's names are indices into an order of its own; the render node says which device is meant."""
        for name, nodes in specs.items():
            render = {node for node in nodes if Path(node).name.startswith("renderD")}
            kind, _, number = name.partition("=")
            if kind == self.cdi.kind and number != "all" and render and render == set(device.nodes):
                return name
        return ""

    def without_cdi(self, devices: Sequence[Device]) -> Without:
        """The driver's node, which all devices share, and the render node of each."""
        nodes = (str(amdgpu.KFD), *(node for device in devices for node in device.nodes))
        bare = [f"device {device.name} has no render node here" for device in devices if not device.nodes]
        absent = [*bare, *(f"{node} is not there" for node in nodes if not Path(node).exists())]
        return Without(nodes, problem=f"{absent[0]}; is the amdgpu driver loaded?" if absent else "")


def _finder(source: str, there: Sequence[Device], whose: str) -> Callable[[str], Device]:
    """Devices by index or by the beginning of their id, in any case of letters.

    Args:
        source: The variable.
        there: What it names.
        whose: Who says so, for people; empty where nobody does, and every name has to be believed.
    """

    def find(entry: str) -> Device:
        if not whose:
            return visibility.unseen(entry)
        if entry.isdecimal():
            if int(entry) < len(there):
                return there[int(entry)]
            raise NotThere(f"{source} names device {entry}, and {whose} {len(there)}")
        called = [
            device
            for device in there
            if any(alias.upper().startswith(entry.upper()) for alias in device.aliases) and len(entry) > len("GPU-")
        ]
        if len(called) == 1:
            return called[0]
        raise visibility.not_one(source, entry, len(called))

    return find
