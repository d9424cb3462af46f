"""What this machine has: processors, memory, folders. Reads, and writes nothing.

How the host says that its fabric is to be used: a fact of the host, not of a case.
"""

from __future__ import annotations

import configparser
import importlib
import os
import platform
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_SHM = Path("/dev/shm")  # noqa: S108 # looked at, not written to
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def cores() -> list[int]:
    """Numbers of the processors that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def cpus() -> int:
    """Processors that this process may use."""
    return len(cores())


def memory() -> tuple[int, int]:
    """Bytes that there are, or that the control group allows if that is less; and how many of them are available."""
    found = psutil.virtual_memory()
    limits = [found.total]
    for path in _MEMORY_LIMITS:
        with suppress(OSError, ValueError):  # "max" is no number
            limits.append(int(path.read_text()))
    total = min(limits)
    return total, min(total, found.available)


def facts() -> dict[str, str]:
    """What a run directory says of this machine, in words."""
    return {
        "cpus": str(cpus()),
        "memory_gib": f"{memory()[0] / 2**30:.0f}",
        "machine": platform.machine(),
        "kernel": platform.release(),
    }


def shared_memory() -> int | None:
    """Free bytes of /dev/shm, None without one."""
    try:
        return shutil.disk_usage(_SHM).free
    except OSError:
        return None


def folder(path: Path) -> tuple[int | None, str]:
    """Free bytes where ``path`` is or would be made, and why nothing can be written there; empty if it can."""
    there = path.absolute()
    try:
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free
        read_only = os.statvfs(there).f_flag & os.ST_RDONLY
    except OSError as error:
        return None, error.strerror or type(error).__name__
    if read_only:
        return free, "the file system is read-only"
    if not there.is_dir():
        return free, f"{there} is no folder"
    return free, "" if os.access(there, os.W_OK | os.X_OK) else f"{there} may not be written to"


def free(path: str) -> int | None:
    """Free bytes of a folder; None if it is not on this machine."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def system() -> tuple[str, str, str]:
    """Operating system, kernel and processor: ``Linux``, its version, ``x86_64``."""
    return platform.system(), platform.release(), platform.machine()


def python() -> str:
    """Version of the interpreter that runs this."""
    return platform.python_version()


def package_index() -> str:
    """Address of the index that pip asks here, by its own rules: environment, files, then what it has built in.

    It may hold a password. Empty where there is no pip to ask.
    """
    return os.environ.get("PIP_INDEX_URL") or next(_configured("index-url"), "") or _built_in()


def package_indexes() -> list[str]:
    """All that pip asks: that index, and those that are configured beside it. Empty where there is no pip to ask."""
    more = os.environ.get("PIP_EXTRA_INDEX_URL") or next(_configured("extra-index-url"), "")
    return list(dict.fromkeys(filter(None, [package_index(), *more.split()])))


def _built_in() -> str:
    try:
        return str(importlib.import_module("pip._internal.models.index").PyPI.simple_url)
    except (ImportError, AttributeError):
        return _embedded()


def _embedded() -> str:
    """What the pip says that virtualenv carries along: an environment may have none of its own."""
    try:
        embedded = importlib.import_module("virtualenv.seed.wheels.embed")
        wheel = embedded.get_embed_wheel("pip", f"{sys.version_info[0]}.{sys.version_info[1]}").path
        text = zipfile.ZipFile(wheel).read("pip/_internal/models/index.py").decode()
    except (ImportError, AttributeError, KeyError, OSError, zipfile.BadZipFile):
        return ""
    found = re.search(r"^PyPI = PackageIndex\(\s*[\"']([^\"']+)[\"']", text, re.MULTILINE)
    return f"{found[1].rstrip('/')}/simple" if found else ""


def _configured(option: str) -> Iterator[str]:
    """An option in pip's configuration files, first where it counts most: the environment, the user, the machine.

    A file that ``PIP_CONFIG_FILE`` names comes last and takes the place of the user's; the null device: there is none.
    """
    home, named = Path.home(), os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    user = [home / ".config" / "pip" / "pip.conf", home / ".pip" / "pip.conf"]
    others = [Path("/etc/pip.conf"), *([Path(named)] if named else [])]
    for path in [Path(sys.prefix) / "pip.conf", *([] if named and Path(named).exists() else user), *others]:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path)
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        for section in ("install", "global"):
            if parser.has_option(section, option):
                yield parser.get(section, option)


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
