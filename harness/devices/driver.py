"""The driver of the accelerators, asked without touching one of them."""

from __future__ import annotations

from pathlib import Path

import pynvml

from harness.devices import nvidia

_KFD = Path("/dev/kfd")
_AMDGPU = Path("/sys/module/amdgpu/version")


class Silent(Exception):
    """The driver does not say; the message is why and what to do, in one line."""


def version(platform: str) -> str:
    """Newest CUDA version that the driver supports, as in ``12.8``; of AMD the driver's own.

    Raises:
        Silent: There is no driver, or it does not answer.
    """
    return _cuda() if platform == "cuda" else _amd()


def _cuda() -> str:
    try:
        pynvml.nvmlInit()
        try:
            number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise Silent(f"{error}; {nvidia.next_step(error)}") from error
    return f"{number // 1000}.{number % 1000 // 10}"


def _amd() -> str:
    if not _KFD.exists():
        raise Silent(f"{_KFD} is not there; load amdgpu, or a host with an AMD GPU")
    return f"amdgpu {_AMDGPU.read_text().strip()}" if _AMDGPU.is_file() else "amdgpu of the kernel"
