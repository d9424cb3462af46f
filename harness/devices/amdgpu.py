"""AMD's devices: enumerated by the kernel driver's topology; used as ``amd-smi`` says, or sysfs where it does not.

A node of the topology that has compute units is a device. An accelerator that is partitioned (DPX, QPX, CPX) has
several nodes with one PCI address, each a device with a part of the memory. What the PCI device's own files say is of
all of them together, so of a partition they say nothing.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.base.domain import Device, Tenant, Usage
from harness.devices.inventory import Inventory, Slot
from harness.devices.platform import DriverSilent
from harness.host import processes

SYSFS = Path("/sys")
KFD = Path("/dev/kfd")
"""The driver's node, which all devices share."""

_TOPOLOGY = "class/kfd/kfd"
_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_ROUNDED = 1.25
"""What the driver keeps for itself, and how it rounds, makes less of a difference between two sizes of one memory."""
_SYSTEM_HEAP = 0
"""Type of a memory bank that is the host's memory."""


@dataclass(frozen=True)
class _Node:
    """A device in the topology.

    Attributes:
        path: Its folder.
        properties: As the driver has them.
        is_part: Whether it is one of several parts of an accelerator.
        uuid: The PCI address; of a part, with its number.
    """

    path: Path
    properties: Mapping[str, int]
    is_part: bool = False
    uuid: str = ""

    @property
    def gpu_id(self) -> str:
        return text(self.path / "gpu_id")

    @property
    def slot(self) -> str:
        """PCI address without the function."""
        location = self.properties.get("location_id", 0)
        return f"{self.properties.get('domain', 0):04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}"

    @property
    def function(self) -> int:
        return self.properties.get("location_id", 0) & 7

    @property
    def part(self) -> int:
        """Number of a part: newer drivers put it into the highest bits of the location, older ones into the lowest."""
        return self.properties.get("location_id", 0) >> 28 or self.function

    @property
    def render(self) -> str:
        minor = self.properties.get("drm_render_minor", 0)
        return f"renderD{minor}" if minor else ""

    @property
    def card(self) -> Path:
        return SYSFS / "class" / "drm" / (self.render or "none") / "device"

    @property
    def banks(self) -> int:
        """Bytes in its memory banks."""
        banks = (_properties(path) for path in self.path.glob("mem_banks/*"))
        return sum(each.get("size_in_bytes", 0) for each in banks if each.get("heap_type") != _SYSTEM_HEAP)


def inventory() -> Inventory:
    """Nodes of the topology that have compute units, in its order, which is that of HIP's indices; others are CPUs."""
    nodes = _nodes()
    products = {each.slot: product for each in nodes if (product := _product(each.card))}
    return Inventory(
        tuple(Slot((_device(index, node, products.get(node.slot, "")),), node.uuid) for index, node in enumerate(nodes))
    )


def usage(device: Device) -> Usage | None:
    """What a device is used for now; None where neither ``amd-smi`` nor sysfs says anything."""
    node = next((each for each in _nodes() if each.uuid == device.uuid), None)
    if node is None:
        return None
    asked_memory, asked = _asked(device, node)
    memory = asked_memory if asked_memory is not None else _memory_in_use(node)
    read = _kfd_tenants(node)
    if asked is None and read is None:
        # Memory alone decides then; without it, nobody can say.
        return None if memory is None else Usage(memory)
    tenants = {each.pid: each for each in (*(read or ()), *(asked or ()))}
    why = "" if memory is not None else "memory: neither amd-smi nor sysfs says how much is in use"
    return Usage(memory, tuple(tenants[pid] for pid in sorted(tenants)), why)


def card(device: Device) -> Path | None:
    """Files of the card that a device is, or is a part of; None where they are not to be seen."""
    found = next((each.card for each in _nodes() if each.uuid == device.uuid), None)
    return found if found and found.is_dir() else None


def driver() -> str:
    """Version of the driver; empty if it is not loaded, or is the kernel's own, which has none."""
    return text(SYSFS / "module" / "amdgpu" / "version")


def loaded() -> str:
    """That the driver is loaded, with its version.

    Raises:
        DriverSilent: It is not.
    """
    if not KFD.exists():
        raise DriverSilent(f"{KFD} is not there; load amdgpu, or a host with an AMD GPU")
    version = driver()
    return f"amdgpu {version}" if version else "amdgpu of the kernel"


def _nodes() -> list[_Node]:
    paths = sorted(SYSFS.glob(f"{_TOPOLOGY}/topology/nodes/*"), key=lambda path: int(path.name))
    found = [_Node(path, _properties(path)) for path in paths]
    found = [each for each in found if each.properties.get("simd_count", 0) > 0]
    parts = Counter(each.slot for each in found)
    named = [_named(each, parts[each.slot] > 1 or _is_less_than_its_card(each)) for each in found]
    seen = Counter(each.uuid for each in named)
    # A driver that numbers no parts: the render node is of one alone.
    return [
        replace(each, uuid=f"{each.uuid}/{each.render or each.path.name}") if seen[each.uuid] > 1 else each
        for each in named
    ]


def _named(node: _Node, is_part: bool) -> _Node:
    uuid = f"{node.slot}.0/{node.part}" if is_part else f"{node.slot}.{node.function}"
    return replace(node, is_part=is_part, uuid=uuid)


def _is_less_than_its_card(node: _Node) -> bool:
    """Whether a device has a part of the card's memory, though no other part is to be seen: in a container."""
    return 0 < node.banks * _ROUNDED < (number(node.card / "mem_info_vram_total") or 0)


def _properties(node: Path) -> dict[str, int]:
    try:
        pairs = [line.split() for line in (node / "properties").read_text().splitlines()]
        return {name: int(value) for name, value in pairs}
    except (OSError, ValueError):
        return {}  # a container may see the node and not be allowed to read it


def _device(index: int, node: _Node, product: str) -> Device:
    unique = node.properties.get("unique_id", 0)
    whole = 0 if node.is_part else number(node.card / "mem_info_vram_total")
    return Device(
        name=str(index),
        uuid=node.uuid,
        product=product,
        memory_bytes=whole or node.banks,
        architecture=_architecture(node.properties.get("gfx_target_version", 0)),
        nodes=(f"/dev/dri/{node.render}",) if node.render else (),
        aliases=(f"GPU-{unique:016x}",) if unique else (),
    )


def _architecture(version: int) -> str:
    """Its number has two decimal digits for each part; of minor and stepping the name has hexadecimal ones."""
    major, minor, stepping = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor:x}{stepping:x}" if major else ""


def _product(card: Path) -> str:
    return text(card / "product_name") or text(card / "product_number")


def text(path: Path) -> str:
    """What a file of the driver says; empty if nothing."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """The same as a number; None if it is none."""
    said = text(path)
    return int(said) if said.isdigit() else None


def _memory_in_use(node: _Node) -> int | None:
    return None if node.is_part else number(node.card / "mem_info_vram_used")


def _kfd_tenants(node: _Node) -> list[Tenant] | None:
    """Processes with memory of the device: the driver keeps a file for each, named after its own id of the device."""
    folder = SYSFS / _TOPOLOGY / "proc"
    if not folder.is_dir():
        return None
    found = {file.parent.name: number(file) or 0 for file in folder.glob(f"*/vram_{node.gpu_id}")}
    return [Tenant(int(pid), memory) for pid, memory in found.items() if memory and pid.isdigit()]


def _asked(device: Device, node: _Node) -> tuple[int | None, list[Tenant] | None]:
    """Memory and processes as ``amd-smi`` says; each None where it is not, or says something else than expected."""
    program = shutil.which("amd-smi")
    if program is None:
        return None, None
    try:
        (number,) = [each["gpu"] for each in _answer(program, "list") if _is(each, node)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, None
    only = ("--gpu", str(number), "--json")
    memory: int | None = None
    tenants: list[Tenant] | None = None
    try:
        (said,) = _answer(program, "metric", "--mem-usage", *only)
        # Of some parts it says what the whole accelerator has in use.
        if not node.is_part or _bytes(said["mem_usage"]["total_vram"]) <= device.memory_bytes * _ROUNDED:
            memory = _bytes(said["mem_usage"]["used_vram"])
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    try:
        (running,) = _answer(program, "process", *only)
        tenants = list(_smi_tenants(running["process_list"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return memory, tenants


def _is(entry: Mapping[str, Any], node: _Node) -> bool:
    """Whether an entry of ``amd-smi list`` is the device: by the driver's id where it says it, else by address."""
    if isinstance(entry.get("kfd_id"), int):
        return str(entry["kfd_id"]) == node.gpu_id
    address = str(entry["bdf"]).lower()
    if node.is_part:
        return address.startswith(f"{node.slot}.") and entry["partition_id"] == node.part
    return address == node.uuid


def _answer(program: str, *arguments: str) -> list[dict[str, Any]]:
    """The entries of an answer, one an accelerator; from ROCm 7 on they may stand in a table of their own."""
    more = () if "--json" in arguments else ("--json",)
    status, output = processes.run([program, *arguments, *more])
    if status != 0:
        raise ValueError(output)
    found = json.loads(output[min(output.index(bracket) for bracket in "[{" if bracket in output) :])
    entries: list[dict[str, Any]] = found["gpu_data"] if isinstance(found, dict) else found
    return entries


def _smi_tenants(listed: list[dict[str, Any]]) -> Iterator[Tenant]:
    for each in listed:
        info = each["process_info"]
        if isinstance(info, str):
            continue  # "No running processes detected"
        memory = info.get("memory_usage", {}).get("vram_mem") or info.get("vram_mem") or info.get("mem_usage")
        yield Tenant(int(info["pid"]), _bytes(memory) if isinstance(memory, dict) else 0)


def _bytes(amount: Mapping[str, Any]) -> int:
    return int(amount["value"] * _UNITS[amount["unit"]])
