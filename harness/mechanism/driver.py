"""The driver of the accelerators, asked without touching one of them."""

from __future__ import annotations

from pathlib import Path

import pynvml

_KFD = Path("/dev/kfd")
_AMDGPU = Path("/sys/module/amdgpu/version")


def version(platform: str) -> str | None:
    """Newest CUDA version that the driver supports, as in ``12.8``; of AMD the driver's own; None without a driver."""
    return _cuda() if platform == "cuda" else _amd()


def _cuda() -> str | None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
    return f"{number // 1000}.{number % 1000 // 10}"


def _amd() -> str | None:
    if not _KFD.exists():
        return None
    return f"amdgpu {_AMDGPU.read_text().strip()}" if _AMDGPU.is_file() else "amdgpu of the kernel"
