"""What AMD's devices do, as the kernel driver's files say it, and the errors that their RAS counts.

The parts of a partitioned accelerator share one card, whose files are of all parts together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.base.activity import Incident, Reading
from harness.base.domain import Device
from harness.devices import amdgpu
from harness.devices.platform import Sampler

_UNCORRECTED = re.compile(r"^ue:\s*(\d+)", re.MULTILINE)


@contextmanager
def sampler(devices: Sequence[Device]) -> Iterator[Sampler]:
    """Reads the files of these devices."""
    cards = {each.uuid: amdgpu.card(each) for each in devices}
    counted = {uuid: _uncorrected(card) for uuid, card in cards.items() if card}

    def read() -> list[Reading]:
        return [_reading(each, card, counted) for each in devices if (card := cards[each.uuid])]

    yield read


def _reading(device: Device, card: Path, counted: dict[str, dict[str, int]]) -> Reading:
    before, now = counted[device.uuid], _uncorrected(card)
    counted[device.uuid] = before | now
    grown = {block: count - before.get(block, 0) for block, count in now.items() if count > before.get(block, 0)}
    busy = amdgpu.number(card / "gpu_busy_percent")
    power = _first(card, "power1_average", "power1_input")
    heat = _first(card, "temp2_input", "temp1_input")  # at the hottest place, else at the edge
    return Reading(
        source=f"device {device.name}",
        busy=None if busy is None else busy / 100,
        memory_bytes=amdgpu.number(card / "mem_info_vram_used"),
        power_watts=None if power is None else power / 1e6,
        temperature_celsius=None if heat is None else heat / 1e3,
        incidents=tuple(
            Incident(f"RAS: {count} more uncorrectable errors in {block}", "device") for block, count in grown.items()
        ),
    )


def _uncorrected(card: Path) -> dict[str, int]:
    """Errors that could not be corrected, by block of the device."""
    found = {}
    for path in sorted(card.glob("ras/*_err_count")):
        if match := _UNCORRECTED.search(amdgpu.text(path)):
            found[path.name.removesuffix("_err_count")] = int(match.group(1))
    return found


def _first(card: Path, *names: str) -> int | None:
    """The first of several sensors that there is: micro-watts, or thousandths of a degree."""
    paths = (path for name in names for path in sorted(card.glob(f"hwmon/hwmon*/{name}")))
    return next((found for path in paths if (found := amdgpu.number(path)) is not None), None)
