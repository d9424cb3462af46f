"""What a server holds when nothing is asked of it, and what its processes hold as a run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NOTHING = 1e-6
"""A share of the KV cache that is nothing: one block is more, in any cache."""

Held = Literal["running", "waiting", "kv_usage", "resident"]
"""What a gauge of ``/metrics`` says: requests that run, requests that wait, the share of the KV cache that requests
refer to, and the resident memory of the process that answers."""


@dataclass(frozen=True)
class Gauge:
    """One series of a gauge, read when nothing was in flight; None where a reading does not have it.

    Attributes:
        held: What it says.
        series: Its name and labels on ``/metrics``.
        before: Ahead of the main run.
        after: After the main run, once it held still.
        last: After the whole evaluation, once it held still.
    """

    held: Held
    series: str
    before: float | None
    after: float | None
    last: float | None


@dataclass(frozen=True)
class Footprint:
    """What the processes of a server, all together, hold at one moment of the main run.

    Attributes:
        done: Requests that had come back.
        planned: Requests of the main run.
        memory_bytes: Memory of their own, without files that are mapped.
        resident_bytes: Memory that they have in all; what they share counts for each of them.
        threads: Of all of them.
        descriptors: Open files and sockets of all of them.
        device_bytes: Memory in use on the devices of the run, by whomever, or, where others share them, by this server;
            None where nobody says.
    """

    done: int
    planned: int
    memory_bytes: int
    resident_bytes: int
    threads: int
    descriptors: int
    device_bytes: int | None = None


@dataclass(frozen=True)
class Resting:
    """What was seen of one server.

    Attributes:
        gauges: Empty where the server exports none.
        lacking: Gauges that the engine has and this server does not export, by their names on ``/metrics``.
        footprints: In order; empty where its processes cannot be looked at.
        cache_bytes: Memory of those processes that a KV cache takes only as it is filled; 0 where it is on a device.
    """

    gauges: tuple[Gauge, ...] = ()
    lacking: tuple[str, ...] = ()
    footprints: tuple[Footprint, ...] = ()
    cache_bytes: int = 0
