"""Hosts with accelerators that are not there: NVIDIA's library and AMD's files as the harness finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

H200 = "NVIDIA H200"
REPOSITORY = Path(__file__).parents[2]
_MI300X = {
    "cpu_cores_count": 0,
    "simd_count": 1216,
    "mem_banks_count": 1,
    "gfx_target_version": 90402,
    "vendor_id": 4098,
    "device_id": 29857,
    "num_xcc": 8,
}


class Nvidia:
    """A host with NVIDIA's driver, for harness processes that are started with :attr:`env`."""

    def __init__(self, folder: Path, gpus: int = 0, **more: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "nvml.json"
        self.gpus: list[dict[str, Any]] = [{"uuid": f"GPU-{index}aaa", "name": H200} for index in range(gpus)]
        self.driver = "580.159.04"
        self.errors: dict[str, str] = {}
        self.env = {
            "FAKE_NVML": str(self.path),
            "PYTHONPATH": str(REPOSITORY / "tests" / "fake_nvml"),
            "INFERENCE_HARNESS_LEASES": str(folder / "leases"),
            **more,
        }
        self.write()

    def write(self) -> None:
        """Let everybody see the state of this object."""
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps({"driver": self.driver, "gpus": self.gpus, "errors": self.errors}))
        beside.rename(self.path)


def amd_partitions(root: Path, parts: int, *, numbered: str = "newer") -> None:
    """sysfs of a host with one MI300X in several parts: only the first has the files of the card, which are of all.

    Args:
        root: Where.
        parts: How many.
        numbered: Where the driver puts the number of a part: ``newer`` and ``older`` ones into the location, ``not``
            at all.
    """
    amd(root, 1)
    first = root / "class" / "kfd" / "kfd" / "topology" / "nodes" / "1"
    for number in range(parts):
        node = first.with_name(str(number + 1))
        location = (1 << 12) + 256 + {"newer": number << 28, "older": number, "not": 0}[numbered]
        properties = _MI300X | {"location_id": location, "drm_render_minor": 128 + number, "unique_id": 0xABC0 + number}
        _files(node, {"gpu_id": f"{51546 + number}", "properties": _table(properties)})
        _files(node / "mem_banks" / "0", {"properties": _table({"heap_type": 1, "size_in_bytes": 24 << 30})})
    (root / "class" / "kfd" / "kfd" / "proc").mkdir()


def _table(properties: dict[str, int]) -> str:
    return "".join(f"{name} {value}\n" for name, value in properties.items())


def _files(folder: Path, content: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (folder / name).write_text(text)


def amd(root: Path, gpus: int) -> None:
    """sysfs of a host with a processor and MI300X accelerators: names and numbers of the kernel driver's files."""
    nodes = root / "class" / "kfd" / "kfd" / "topology" / "nodes"
    for number in range(gpus + 1):
        node = nodes / str(number)
        node.mkdir(parents=True)
        properties = {"cpu_cores_count": 96, "simd_count": 0, "drm_render_minor": 0}
        if number:
            properties = _MI300X | {"location_id": (number << 12) + 256, "domain": 0, "drm_render_minor": 127 + number}
            properties["unique_id"] = 0xABC0 + number
            card = root / "class" / "drm" / f"renderD{127 + number}" / "device"
            card.mkdir(parents=True)
            (card / "mem_info_vram_total").write_text("206141652992\n")
            (card / "mem_info_vram_used").write_text("297783296\n")
            (card / "product_name").write_text("AMD Instinct MI300X OAM\n")
        (node / "gpu_id").write_text(f"{number and 51545 + number}\n")
        (node / "properties").write_text("".join(f"{name} {value}\n" for name, value in properties.items()))
    module = root / "module" / "amdgpu"
    module.mkdir(parents=True)
    (module / "version").write_text("6.12.12\n")
