"""A run that does nothing but lease: what a harness does with devices, without an engine, in a process of its own.

Arguments: the folder for everything, the name of the lessee, and the points: how many devices each needs, by comma.
For each it appends a line to ``NAME.jsonl``; points that are there already are not done again.
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

DEVICES = [Device(str(number), f"GPU-{number}") for number in range(4)]
_WAIT = 600.0


def started(pid: int) -> str:
    """When a process was started, in ticks; empty if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


@contextmanager
def used(folder: Path, device: Device) -> Iterator[None]:
    """The device is ours, and nobody else's, as long as the block lasts: seen without a lock."""
    mark = folder / f"{device.uuid}.used"
    with suppress(FileNotFoundError):
        other = json.loads(mark.read_text())
        if started(other["pid"]) == other["started"]:
            raise AssertionError(f"{device.uuid} is used by {other['pid']} already")
    mark.write_text(json.dumps({"pid": os.getpid(), "started": started(os.getpid())}))
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
            DEVICES, count, f"{name}/{number}", folder, foreign=lambda *_: "", wait=_WAIT, on_tick=lambda _: None
        )
        got = time.monotonic()
        with held:
            for device in found:
                held.enter_context(used(folder, device))
            time.sleep(random.uniform(0.0, 0.02))
            line = {"number": number, "count": count, "before": before, "came": came[0], "got": got}
            with record.open("a") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
