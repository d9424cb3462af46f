"""Every accelerator here with whoever has it, and the queue of those who wait for some."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.base.domain import Device, Platform
from harness.devices import accelerators, leases, lock_files, tickets
from harness.devices.device_shares import Share, capacity
from harness.devices.lock_files import Party
from harness.devices.tickets import Ticket, wanted
from harness.run import occupancy

State = Literal["free", "leased", "shared", "in use", "unknown"]


@dataclass(frozen=True)
class Listed:
    """A device.

    Attributes:
        state: ``leased`` by a run; ``shared`` by runs that have a part of its memory each; ``in use`` by somebody
            without a lease; ``unknown`` where nobody can tell.
        party: Who leased it, if that says so.
        why: Who uses it, or why that is not known.
        kept_for: The first in the queue who may get it.
        shares: Those of a shared device.
    """

    platform: Platform
    device: Device
    state: State
    party: Party | None
    why: str
    kept_for: Ticket | None
    shares: Sequence[Share] = ()

    @property
    def title(self) -> str:
        """What people call it."""
        memory = f"{self.device.memory_bytes / 2**30:.0f} GiB" if self.device.memory_bytes else ""
        about = ", ".join(filter(None, (self.device.product, memory)))
        return f"{self.platform} {self.device.name}{f' ({about})' if about else ''}"


@dataclass(frozen=True)
class Host:
    """What there is at a moment.

    Attributes:
        problems: Why there is nothing of a platform, or less than there should be.
    """

    devices: tuple[Listed, ...]
    queue: tuple[Ticket, ...]
    problems: tuple[str, ...]


def look(platforms: Iterable[Platform]) -> Host:
    """The accelerators of these platforms that this process may use, and everybody who waits on this host.

    Raises:
        lock_files.Unusable: The folder of the locks cannot be used.
    """
    queue = tickets.waiting(lock_files.folder())
    devices, problems, absent = list[Listed](), list[str](), list[str]()
    for platform in platforms:
        seen = accelerators.look(platform)
        if seen.devices or seen.is_broken:
            problems += seen.said
        else:
            absent.append(seen.problem)
        devices += [_listed(platform, each, queue) for each in seen.devices]
    # That a driver is absent is worth a line only where there is no other.
    return Host(tuple(devices), tuple(queue), tuple(problems if devices else [*problems, *filter(None, absent)]))


def _listed(platform: Platform, device: Device, queue: Sequence[Ticket]) -> Listed:
    kept_for = tickets.first_for(device, queue)
    if leases.is_leased(device):
        return Listed(platform, device, "leased", leases.holder(device), "", kept_for)
    there = leases.shared(device)
    found = occupancy.foreign(platform, device, there)
    state: State = "in use" if found.user else "shared" if there else "unknown" if found.unknown else "free"
    return Listed(platform, device, state, None, found.user or found.unknown, kept_for, there)


def lines(host: Host) -> list[str]:
    """For people."""
    found = list(host.problems)
    for each in host.devices:
        by = f" by {each.party or 'somebody who does not say'}" if each.state == "leased" else ""
        if each.state == "shared":
            taken, all_of_it = sum(one.memory_bytes for one in each.shares), capacity(each.device)
            by = f", {taken / 2**30:.0f} of {all_of_it / 2**30:.0f} GiB: {'; '.join(map(str, each.shares))}"
        kept = f"; kept for {each.kept_for}" if each.kept_for else ""
        why = each.why if each.state in ("in use", "unknown") else f"{each.state}{by}"
        found.append(f"{each.title}: {why}{kept}")
    for place, ticket in enumerate(host.queue, 1):
        among = ", ".join(_name(uuid, host) for uuid, _ in ticket.among)
        found.append(
            f"{place}. in the queue: {ticket.party} waits for {wanted(ticket.count, ticket.share, '')} of {among}"
        )
    return found if host.queue else [*found, "nobody waits"]


def _name(uuid: str, host: Host) -> str:
    return next((f"{each.platform} {each.device.name}" for each in host.devices if each.device.uuid == uuid), uuid)


def document(host: Host) -> str:
    """For programs: JSON."""
    devices = [
        {
            "platform": each.platform,
            "name": each.device.name,
            "uuid": each.device.uuid,
            "product": each.device.product,
            "memory_bytes": each.device.memory_bytes,
            "state": each.state,
            "holder": each.party.document() if each.party else None,
            "shares": [share.document() for share in each.shares],
            "why": each.why,
            "kept_for": each.kept_for.number if each.kept_for else None,
        }
        for each in host.devices
    ]
    queue = [_ticket(each) for each in host.queue]
    return json.dumps({"devices": devices, "queue": queue, "problems": host.problems}, indent=2)


def _ticket(ticket: Ticket) -> dict[str, Any]:
    among = [uuid for uuid, _ in ticket.among]
    return {
        "number": ticket.number,
        **ticket.party.document(),
        "count": ticket.count,
        "share": ticket.share,
        "among": among,
    }
