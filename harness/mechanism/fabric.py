"""How the host says that its fabric is to be used: a fact of the host, not of a case."""

from __future__ import annotations

import os

_PREFIXES = ("NCCL_", "NVSHMEM_", "RCCL_", "UCX_")

SYMMETRIC_MEMORY = "TORCH_SYMM_MEM_DISABLE_MULTICAST"
"""Says that symmetric memory is to make no multicast objects."""

# On NVLink, each of a library that would use it unasked.
_NO_MULTICAST = {SYMMETRIC_MEMORY: "1", "NCCL_NVLS_ENABLE": "0", "NVSHMEM_DISABLE_NVLS": "1"}


def says(variable: str) -> bool:
    """Whether an environment variable is about the fabric."""
    return variable in _NO_MULTICAST or variable.startswith(_PREFIXES)


def no_multicast() -> dict[str, str]:
    """The variables with which our environment turns NVLink multicast off.

    Inside a container they mean what they mean outside; names of network interfaces, for one, do not.
    """
    return {name: off for name, off in _NO_MULTICAST.items() if os.environ.get(name) == off}
