"""What processes hold: memory, threads, open files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.host.identity import Identity

_PROC = Path("/proc")
_OWN = ("RssAnon", "RssShmem")  # without files that are mapped: weights are read as they are needed


@dataclass(frozen=True)
class Holdings:
    """What some processes hold together.

    Attributes:
        memory_bytes: Memory of their own, without files that are mapped.
        resident_bytes: Memory in all; what they share counts for each of them.
        threads: Of all of them.
        descriptors: Open files and sockets of all of them whose list may be read.
    """

    memory_bytes: int = 0
    resident_bytes: int = 0
    threads: int = 0
    descriptors: int = 0


def of(processes: Iterable[Identity]) -> Holdings:
    """What ``processes`` hold now; one that has ended holds nothing."""
    memory = resident = threads = descriptors = 0
    for each in processes:
        folder = _PROC / str(each.pid)
        with suppress(OSError, ValueError):
            fields = _status(folder)
            memory += 1024 * sum(fields.get(name, 0) for name in _OWN)
            resident += 1024 * fields.get("VmRSS", 0)
            threads += fields.get("Threads", 0)
            descriptors += sum(1 for _ in (folder / "fd").iterdir())
    return Holdings(memory, resident, threads, descriptors)


def _status(folder: Path) -> dict[str, int]:
    """The numbers of ``status`` that are wanted; memory in KiB (proc_pid_status(5))."""
    wanted = (*_OWN, "VmRSS", "Threads")
    pairs = (line.partition(":") for line in (folder / "status").read_text(errors="replace").splitlines())
    return {name: int(value.split()[0]) for name, _, value in pairs if name in wanted}
