"""A run that does nothing but lease: what a harness does with devices, without an engine, in a process of its own.

Arguments: the folder for everything, the name of the lessee, and the points: how many devices each needs, by comma;
``-2`` is two shares, of which a device has room for two. For each it appends a line to ``NAME.jsonl``; points that are
there already are not done again.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.base.domain import Device
from harness.devices import leases, tickets

_SHARE = 6 << 30
_SHARES = 2
"""That a device has room for."""
DEVICES = [Device(str(number), f"GPU-{number}", memory_bytes=13 << 30) for number in range(4)]
_WAIT = 600.0


def started(pid: int) -> str:
    """When a process was started, in ticks; empty if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


@contextmanager
def used(folder: Path, device: Device, number: int, *, shared: bool) -> Iterator[None]:
    """The device is ours, or shared by no more than it has room for, as long as the block lasts: seen without a lock.

    ``number`` tells our own shares apart.
    """
    mark = folder / f"{device.uuid}.{os.getpid()}-{number}.used"
    mark.write_text(json.dumps({"started": started(os.getpid()), "shared": shared}))
    there = []
    for each in folder.glob(f"{device.uuid}.*.used"):
        with suppress(FileNotFoundError, ValueError):  # it goes, or comes and will look itself
            said = json.loads(each.read_text())
            if started(int(each.name.split(".")[1].split("-")[0])) == said["started"]:
                there.append(said["shared"])
    if len(there) > (_SHARES if all(there) else 1):
        raise AssertionError(f"{device.uuid} is used by others already: {there}")
    yield
    mark.unlink()


def main() -> None:
    folder, name, points = Path(sys.argv[1]), sys.argv[2], [int(each) for each in sys.argv[3].split(",")]
    record, came = folder / f"{name}.jsonl", [0.0]
    done = len(record.read_text().splitlines()) if record.exists() else 0
    taken = tickets.taken

    @contextmanager
    def noted(*arguments: object, **more: object) -> Iterator[tickets.Place]:
        with taken(*arguments, **more) as place:  # type: ignore[arg-type] # handed on as they came
            came[0] = time.monotonic()
            yield place

    tickets.taken = noted
    for number, count in list(enumerate(points))[done:]:
        before = time.monotonic()
        found, held = leases.acquire(
            DEVICES,
            abs(count),
            f"{name}/{number}",
            folder / name,
            foreign=lambda *_: "",
            wait=_WAIT,
            on_tick=lambda _: None,
            share=_SHARE if count < 0 else 0,
        )
        got = time.monotonic()
        with held:
            for which, device in enumerate(found):
                held.enter_context(used(folder, device, which, shared=count < 0))
            time.sleep(random.uniform(0.0, 0.02))
            line = {"number": number, "count": count, "before": before, "came": came[0], "got": got}
            with record.open("a") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
