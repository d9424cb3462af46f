"""Accelerators of this machine, and how a process is told which of them are its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pynvml

from harness.ground.domain import VISIBLE_DEVICES

_KFD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")


def visible(platform: str) -> list[str]:
    """Names of the accelerators that this process may use: as its environment says, else all that the driver shows.

    Args:
        platform: ``cpu`` has none.
    """
    if platform not in VISIBLE_DEVICES:
        return []
    given = os.environ.get(variable(platform))
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    count = _nvidia() if platform == "cuda" else _amd()
    return [str(index) for index in range(count)]


def variable(platform: str) -> str:
    """The environment variable that names devices here.

    Of several the first that is set counts, and a server is given that one alone: two would be applied one after the
    other.
    """
    names = VISIBLE_DEVICES[platform]
    return next((name for name in names if name in os.environ), names[0])


def memory_gib(platform: str, name: str) -> float | None:
    """Memory of one accelerator, by its index or UUID; None where nobody can say."""
    if platform != "cuda" or not _nvidia():
        return None
    with _driver():
        by_uuid = name.startswith(("GPU-", "MIG-"))
        handle = (pynvml.nvmlDeviceGetHandleByUUID if by_uuid else pynvml.nvmlDeviceGetHandleByIndex)(
            name if by_uuid else int(name)
        )
        return float(pynvml.nvmlDeviceGetMemoryInfo(handle).total) / 2**30


def hardware(platform: str) -> dict[str, str]:
    """Names of all accelerators here and the version of their driver, as far as the driver says."""
    if platform != "cuda" or not _nvidia():
        return {}
    with _driver():
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        counted = Counter(str(pynvml.nvmlDeviceGetName(handle)) for handle in handles)
        driver = str(pynvml.nvmlSystemGetDriverVersion())
    return {"devices": ", ".join(f"{count} x {name}" for name, count in counted.items()), "driver": driver}


@contextmanager
def _driver() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _nvidia() -> int:
    try:
        with _driver():
            return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0  # no driver


def _amd() -> int:
    """Nodes of the kernel driver's topology that have compute units; the others are processors."""
    found = 0
    for path in _KFD_NODES.glob("*/properties"):
        properties = dict(line.split(maxsplit=1) for line in path.read_text().splitlines() if " " in line)
        found += int(properties.get("simd_count", 0)) > 0
    return found
