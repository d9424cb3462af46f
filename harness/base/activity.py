"""What accelerators and processes did while a point ran, and what went wrong with an accelerator meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.base.errors import Fault


@dataclass(frozen=True)
class Incident:
    """What a driver reported of an accelerator: of NVIDIA an Xid, of AMD an error that its RAS counted.

    Attributes:
        text: In words, without the device.
        fault: ``device``, or empty where what runs on it may have caused it.
    """

    text: str
    fault: Fault


@dataclass(frozen=True)
class Reading:
    """One source at one moment; one line of ``telemetry.jsonl``. None is what nobody says.

    Attributes:
        seconds: Since the first reading.
        source: ``device NAME``, or ``servers`` for the processes of the run on this machine.
        busy: Share of time in which the device computed; of processes, cores in use.
        memory_bytes: In use.
        power_watts, temperature_celsius: Of the device.
        incidents: Reported since the last reading.
    """

    source: str
    seconds: float = 0.0
    busy: float | None = None
    memory_bytes: int | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    incidents: tuple[Incident, ...] = ()


def incidents(readings: Iterable[Reading]) -> list[tuple[str, Incident]]:
    """Every one, with its source, in order; the same one of the same source once."""
    return list(dict.fromkeys((reading.source, each) for reading in readings for each in reading.incidents))


def summarised(readings: Sequence[Reading]) -> dict[str, str]:
    """A line for each source: means over the readings, and the most where that says more."""
    found: dict[str, list[Reading]] = {}
    for each in readings:
        found.setdefault(each.source, []).append(each)
    return {source: line for source, several in found.items() if (line := _line(source, several))}


def _line(source: str, readings: Sequence[Reading]) -> str:
    parts = []
    if busy := [each.busy for each in readings if each.busy is not None]:
        mean, most = sum(busy) / len(busy), max(busy)
        is_device = source.startswith("device")
        parts.append(f"{mean:.0%} busy (most {most:.0%})" if is_device else f"{mean:.1f} cores (most {most:.1f})")
    if memory := [each.memory_bytes for each in readings if each.memory_bytes is not None]:
        parts.append(f"{max(memory) / 2**30:.1f} GiB at most")
    if power := [each.power_watts for each in readings if each.power_watts is not None]:
        parts.append(f"{sum(power) / len(power):.0f} W (most {max(power):.0f})")
    if heat := [each.temperature_celsius for each in readings if each.temperature_celsius is not None]:
        parts.append(f"{max(heat):.0f} °C at most")
    return ", ".join(parts)
