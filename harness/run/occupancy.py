"""The devices of a run: leased before, looked at before and after, and never anybody else's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.base.clock import Deadline
from harness.base.device_architectures import suits
from harness.base.domain import Device, Platform, Tenant, Usage
from harness.base.errors import CannotJudge
from harness.cases.model import Case
from harness.devices import accelerators, device_shares, leases
from harness.devices.device_shares import Share
from harness.host import ownership
from harness.plan import points
from harness.run.context import Context
from harness.run.rundir import Occupancy

IDLE_BYTES = 1 << 30
"""What a driver may keep for itself on a device that nobody uses; some keep a few hundred MiB."""

_SETTLE = 15.0
"""Seconds that memory may take to come back: drivers free it after the process is gone."""

_CANNOT_TELL = "cannot tell whether it is free"


@dataclass(frozen=True)
class Foreign:
    """Whether somebody uses a device that nobody leased.

    Attributes:
        user: Who; empty if nobody can be seen to.
        unknown: Why that does not mean that it is free; empty if it does.
    """

    user: str = ""
    unknown: str = ""


def lease(
    context: Context, wait: float, abandoned: Callable[[Path], str], *, assume_free: bool = False
) -> list[Device]:
    """As many free accelerators as the case needs, of those that this machine shows; theirs until the context ends.

    Server by server: one of which several have a share comes as often.

    Args:
        context: Of the case.
        wait: Seconds until too few free ones are an error.
        abandoned: Of the run that had a device last: what of it may use the device at any moment; empty if nothing.
        assume_free: Take also those of which nobody can tell whether they are free.

    Raises:
        CannotJudge: There are too few, they are too small, or others have them.
    """
    prepared = context.prepared
    needed, platform = points.devices(prepared.case, prepared.platform), prepared.platform
    if not needed:
        return []
    there = visible(context)

    try:
        found, held = leases.acquire(
            there,
            needed,
            f"{prepared.suite}/{prepared.name}",
            context.rundir.path,
            foreign=_used(platform, abandoned, assume_free=assume_free),
            wait=wait,
            on_tick=context.progress.tick,
            clock=context.clock,
            share=share_of(prepared.case, platform, there),
        )
    except (leases.Refused, leases.Unusable) as error:
        hint = "; --wait-for-devices waits" if isinstance(error, leases.Refused) else ""
        raise CannotJudge(f"needs {needed} {platform} devices", cause=f"{error}{hint}") from error
    context.held.enter_context(held)
    context.rundir.write("devices", Occupancy, Occupancy(before=_usage(platform, found)))
    return found


def share_of(case: Case, platform: Platform, devices: Iterable[Device]) -> int:
    """Bytes of a device's memory that each server of a case may use; 0: it has its devices to itself.

    Nobody shares devices of which nobody knows how much memory they have.
    """
    return points.share_bytes(case, platform) if all(device_shares.capacity(each) for each in devices) else 0


def free(
    platform: Platform,
    devices: Iterable[Device],
    abandoned: Callable[[Path], str],
    *,
    assume_free: bool = False,
    share: int = 0,
) -> list[Device]:
    """Those devices that a run could lease now, without waiting; arguments as of :func:`lease`.

    Args:
        share: Bytes of a device's memory that the run would be content with; 0: it wants whole devices.

    Raises:
        leases.Unusable: Nothing can be locked here.
    """
    used = _used(platform, abandoned, assume_free=assume_free)
    return [each for each in devices if not leases.refused(each, used, share)]


def _used(platform: Platform, abandoned: Callable[[Path], str], *, assume_free: bool) -> leases.Foreign:
    """Says who uses a device that nobody leased."""

    def said(device: Device, last: Sequence[str], beside: Sequence[Share]) -> str:
        left = next(filter(None, (abandoned(Path(folder)) for folder in last)), "")
        return left or _refusal(platform, device, beside, assume_free=assume_free)

    return said


def suitable(case: Case, devices: Iterable[Device]) -> list[Device]:
    """Those devices that are large enough for a case, and of a kind that it is for."""
    return [each for each in devices if _is_large(case, each) and suits(each.architecture, case.device_architectures)]


def _is_large(case: Case, device: Device) -> bool:
    """Whether a device has the memory that a case needs; one of which nobody knows the size is believed to."""
    return not 0 < device.memory_bytes < case.device_memory_gib << 30


def visible(context: Context) -> list[Device]:
    """The accelerators that the case may use; indices never wrap around.

    Raises:
        CannotJudge: There are too few, or too small ones, or others than the case is for.
    """
    case, platform = context.case, context.prepared.platform
    needed = points.devices(case, platform)
    seen = accelerators.look(platform)
    for line in seen.said:
        context.progress.note(f"devices: {line}")
    there = seen.devices
    share = share_of(case, platform, there)
    least = 1 if share else needed
    if len(there) < least:
        reasons = seen.said or ((seen.problem,) if seen.problem and not seen.devices else ())
        cause = "; ".join(filter(None, (*reasons, seen.next_step)))
        raise CannotJudge(f"needs {least} {platform} devices, there are {len(there)}", cause=cause)
    large = [each for each in there if _is_large(case, each)]
    if len(large) < least:
        small = next(each for each in there if each not in large)
        raise CannotJudge(
            f"device {small.name} has {small.memory_bytes / 2**30:.0f} GiB, the case needs {case.device_memory_gib}"
        )
    fitting = suitable(case, large)
    if len(fitting) < least:
        other = next(each for each in large if each not in fitting)
        told = f"device {other.name} is {other.architecture}{f' ({other.product})' if other.product else ''}"
        raise CannotJudge(f"{told}, the case needs {' or '.join(case.device_architectures)}")
    if share and device_shares.fit(fitting, share) < needed:
        most = max(fitting, key=lambda each: each.memory_bytes)
        raise CannotJudge(
            f"device {most.name} has {most.memory_bytes / 2**30:.0f} GiB, which is too little for "
            f"{needed} servers with {case.device_share_gib} GiB each"
        )
    return fitting


def after(context: Context) -> None:
    """Look at the devices once everything was stopped, and write down what did not come back."""
    found = context.rundir.read("devices", Occupancy)
    runtime = context.prepared.runtime
    if found is None or runtime is None:
        return
    platform = context.prepared.platform
    deadline = Deadline(_SETTLE, context.clock)
    while True:
        now = _usage(platform, runtime.devices)
        left = [
            line
            for device in device_shares.distinct(runtime.devices)
            for line in _left(context, device, found.before, now)
        ]
        if not left or deadline.passed:
            break
        context.clock.sleep(0.25)
    context.rundir.write("devices", Occupancy, found.model_copy(update={"after": now, "left": left}))


def _usage(platform: Platform, chosen: list[Device]) -> dict[str, Usage | None]:
    return {device.uuid: accelerators.usage(platform, device) for device in chosen}


def foreign(platform: Platform, device: Device, beside: Sequence[Share] = ()) -> Foreign:
    """Whether somebody uses a device without a lease: a process, or memory of one that cannot be seen from here.

    Of those who have a share of it, processes are known by their label, and memory by what they may use. What is known
    decides: memory where the driver lists no processes, which it does in containers, and processes where it tells no
    memory, which it does where that is the host's.
    """
    usage = accelerators.usage(platform, device)
    if usage is None:
        return Foreign(unknown=f"{_CANNOT_TELL}: {accelerators.why_unknown(platform)}")
    runs = {each.party.folder for each in beside}
    strangers = [each for each in usage.tenants or () if not (runs and _may_be_of(each, runs))]
    if strangers:
        return Foreign(f"in use by {', '.join(_named(tenant) for tenant in strangers)}")
    allowed = _allowed(beside)
    if usage.memory_bytes is not None and usage.memory_bytes > IDLE_BYTES + allowed:
        whose = f"more than the {_mib(allowed)} of those who share it" if beside else "by a process that cannot be seen"
        return Foreign(f"{_mib(usage.memory_bytes)} in use {whose}{'' if beside else ' from here'}")
    if usage.memory_bytes is None and usage.tenants is None:
        return Foreign(unknown=f"{_CANNOT_TELL}: {usage.unknown}")
    return Foreign()


def _may_be_of(tenant: Tenant, runs: Collection[str]) -> bool:
    """Whether a process is of one of these runs, or cannot be seen: then memory decides."""
    return not tenant.pid or ownership.run_of(tenant.pid) in runs


def _allowed(beside: Iterable[Share]) -> int:
    """Bytes that those who share a device may use of it."""
    return sum(each.memory_bytes for each in beside)


def _refusal(platform: Platform, device: Device, beside: Sequence[Share], *, assume_free: bool) -> str:
    """Why a device that nobody leased is not taken; empty if it is."""
    found = foreign(platform, device, beside)
    hint = "; --assume-free takes it all the same, if you know that nobody uses it"
    return found.user or ("" if assume_free or not found.unknown else found.unknown + hint)


def _left(
    context: Context, device: Device, before: Mapping[str, Usage | None], now: Mapping[str, Usage | None]
) -> list[str]:
    """What is on a device that was not there before, but for what others have on it that share it."""
    first, last = before.get(device.uuid), now.get(device.uuid)
    if first is None or last is None:
        return []
    known = {tenant.pid for tenant in first.tenants or ()}
    mine = str(context.rundir.path)
    shared = bool(points.share_bytes(context.case, context.prepared.platform))
    beside = [each for each in leases.shared(device) if each.party.folder != mine] if shared else []
    new = [tenant for tenant in last.tenants or () if tenant.pid not in known]
    others = [each for each in new if shared and _is_of_another(each, mine, beside)]
    strangers = [_named(each) for each in new if each not in others]
    more = (
        0 if None in (first.memory_bytes, last.memory_bytes) else (last.memory_bytes or 0) - (first.memory_bytes or 0)
    )
    seen = {ownership.run_of(each.pid) for each in others if each.pid and each.memory_bytes}
    theirs = sum(each.memory_bytes for each in others) + _allowed(
        each for each in beside if each.party.folder not in seen
    )
    if not strangers and more > IDLE_BYTES + theirs:
        strangers = [f"{_mib(more)} of a process that cannot be seen from here"]
    return [f"device {device.name} is still in use by {', '.join(strangers)}"] if strangers else []


def _is_of_another(tenant: Tenant, mine: str, beside: Sequence[Share]) -> bool:
    """Whether a process on a shared device is another run's; one that cannot be seen may be, if there is another."""
    return ownership.run_of(tenant.pid) not in ("", mine) if tenant.pid else bool(beside)


def _named(tenant: Tenant) -> str:
    """A process as people can find it: with its command and, if it is one of ours, the run it belongs to."""
    memory = f", {_mib(tenant.memory_bytes)}" if tenant.memory_bytes else ""
    if not tenant.pid:
        return f"a process that cannot be seen from here{memory}"
    try:
        process = psutil.Process(tenant.pid)
        user, what = process.username(), " ".join(" ".join(process.cmdline()).split())[:80] or process.name()
    except (psutil.Error, OSError):
        return f"pid {tenant.pid}{memory}"
    run = ownership.run_of(tenant.pid)
    return f"{what} (pid {tenant.pid}, {user}{memory}{f', of the run in {run}' if run else ''})"


def _mib(amount: int) -> str:
    return f"{amount >> 20} MiB"
