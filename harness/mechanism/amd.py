"""AMD's devices: enumerated by the kernel driver's topology; used as ``amd-smi`` says, or sysfs where it is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.ground.domain import Device, Tenant, Usage
from harness.mechanism import processes

SYSFS = Path("/sys")

_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def listed() -> list[Device]:
    """Nodes of the topology that have compute units, in its order, which is that of HIP's indices; others are CPUs."""
    nodes = sorted(SYSFS.glob("class/kfd/kfd/topology/nodes/*"), key=lambda path: int(path.name))
    found: list[Device] = []
    for node in nodes:
        properties = _properties(node)
        if properties.get("simd_count", 0) > 0:
            found.append(_device(len(found), properties))
    return found


def usage(device: Device) -> Usage | None:
    """What a device is used for now; None where neither ``amd-smi`` nor sysfs says."""
    return _asked(device) or _read(device)


def driver() -> str:
    """Version of the driver; empty if it is not loaded, or is the kernel's own, which has none."""
    return _text(SYSFS / "module" / "amdgpu" / "version")


def _properties(node: Path) -> dict[str, int]:
    try:
        pairs = [line.split() for line in (node / "properties").read_text().splitlines()]
        return {name: int(value) for name, value in pairs}
    except (OSError, ValueError):
        return {}  # a container may see the node and not be allowed to read it


def _device(index: int, properties: Mapping[str, int]) -> Device:
    location, minor = properties.get("location_id", 0), properties.get("drm_render_minor", 0)
    address = f"{properties.get('domain', 0):04x}:{location >> 8:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"
    card = _card(f"/dev/dri/renderD{minor}")
    return Device(
        name=str(index),
        uuid=address,
        product=_text(card / "product_name") or _text(card / "product_number"),
        memory_bytes=int(_text(card / "mem_info_vram_total") or 0),
        nodes=(f"/dev/dri/renderD{minor}",) if minor else (),
    )


def _card(node: str) -> Path:
    return SYSFS / "class" / "drm" / Path(node).name / "device"


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _read(device: Device) -> Usage | None:
    used = _text(_card(device.nodes[0]) / "mem_info_vram_used") if device.nodes else ""
    return Usage(int(used), tuple(_kfd_tenants(device))) if used else None


def _kfd_tenants(device: Device) -> Iterator[Tenant]:
    """Processes with memory of the device: the driver keeps a file for each, named after its own id of the device."""
    minor = device.nodes[0].removeprefix("/dev/dri/renderD")
    for node in SYSFS.glob("class/kfd/kfd/topology/nodes/*"):
        if _properties(node).get("drm_render_minor") == int(minor):
            for file in sorted(SYSFS.glob(f"class/kfd/kfd/proc/*/vram_{_text(node / 'gpu_id')}")):
                if int(_text(file) or 0):
                    yield Tenant(int(file.parent.name), int(_text(file)))


def _asked(device: Device) -> Usage | None:
    """What ``amd-smi`` says; None where it is not, or says something else than expected."""
    program = shutil.which("amd-smi")
    if program is None:
        return None
    try:
        (number,) = [each["gpu"] for each in _answer(program, "list") if each["bdf"].lower() == device.uuid]
        only = ("--gpu", str(number), "--json")
        (memory,) = _answer(program, "metric", "--mem-usage", *only)
        (running,) = _answer(program, "process", *only)
        used = _bytes(memory["mem_usage"]["used_vram"])
        return Usage(used, tuple(_smi_tenants(running["process_list"])))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


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
        yield Tenant(int(info["pid"]), _bytes(memory) if memory else 0)


def _bytes(amount: Mapping[str, Any]) -> int:
    return int(amount["value"] * _UNITS[amount["unit"]])
