"""What a point needs of a host, as far as its case and what was learned of it say."""

from __future__ import annotations

from collections.abc import Iterable

from harness.fleet.jobs import Job
from harness.plan.points import Planned

_GIB = 1 << 30
_OF_A_SERVER = 4 * _GIB
"""First guess of the memory of a server without accelerators: a tiny model's takes about 2 GiB."""
_OF_A_DEVICE = 8 * _GIB
"""First guess of the host's memory for each accelerator: a worker that maps its weights takes about 5 GiB."""
_CORES = 2
"""Processors of a server that computes on them: one for the model, one for the loops beside it, of which NIXL's polls
without sleeping."""


def job(each: Planned, *, memory: int = 0, suited: Iterable[str] | None = None, share: int = 0) -> Job:
    """A point as a scheduler sees it.

    Args:
        each: The point.
        memory: Bytes of the host's memory that its servers were seen to hold; 0: nobody has looked.
        suited: Names of the accelerators that will do; None: all.
        share: Bytes of an accelerator's memory that each of its servers is content with; 0: it has its own to itself.
    """
    servers = sum(each.case.topology.roles.values())
    # Where many servers fit on an accelerator, what they start with is what there is too little of.
    cores = _CORES * servers if share else each.devices or _CORES * servers
    guess = max(each.devices * _OF_A_DEVICE, servers * _OF_A_SERVER)
    names = None if suited is None else frozenset(suited)
    return Job(each.id, each.seconds, each.devices, cores, memory or guess, names, share)
