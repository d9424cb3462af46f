"""``stop``: end what this run started, and prove that it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from harness.base.domain import CheckResult, Outcome
from harness.base.errors import CannotJudge, UsageError
from harness.host import link, signals, stopping
from harness.host.stopping import Stopped
from harness.run import server_environment
from harness.run.context import Context
from harness.run.rundir import Occupancy, Ready, RunDir, Servers

_GRACE_BEFORE_READY = 5.0
_NAMED = 8


def run(context: Context) -> None:
    """Stop the servers and write the outcome to ``servers.json``. Stopping twice is harmless.

    Raises:
        CannotJudge: ``servers.json`` cannot be read. What carries the run's label was stopped all the same.
    """
    try:
        document = context.rundir.read("servers", Servers)
    except UsageError as error:
        with signals.deferred():
            stopped = stopping.stop([], [], context.label, _grace(context), context.clock)
        left = f", but for {_some(stopped.alive)}" if stopped.alive else ""
        raise CannotJudge(f"servers were stopped by their label alone{left}", cause=str(error)) from error
    if document is None:
        return  # nothing was started
    context.progress.tick(f"stopping {len(document.servers)} servers")
    started = [running.process for running in document.servers if running.process]
    server_environment.remember(context.rundir, started)
    with signals.deferred():
        stopped = stopping.stop(
            started,
            [port for each in document.servers if each.is_seen for port in each.server.ports.values()],
            context.label,
            _grace(context),
            context.clock,
        )
        if document.stopped is None or stopped != Stopped():
            context.rundir.write("servers", Servers, document.model_copy(update={"stopped": stopped}))
        server_environment.conceal(context.rundir)


def _grace(context: Context) -> float:
    """Seconds for a server to stop by itself. One that was never ready has nothing to bring to an end."""
    limit = context.case.timeouts.stop
    with suppress(UsageError):  # whatever is in it, they were ready
        return limit if context.rundir.read("ready", Ready) else min(limit, _GRACE_BEFORE_READY)
    return limit


def teardown(rundir: RunDir) -> list[CheckResult]:
    """The ``teardown`` check: one result once the servers were stopped, none before."""
    document = rundir.read("servers", Servers)
    if rundir.prepared().attached:
        why = "not judged: somebody else runs the servers; nothing was started, stopped, leased or looked for"
        return [CheckResult("teardown", Outcome.SKIPPED, message=why)]
    if document is None or document.stopped is None:
        return []
    stopped = document.stopped
    wrong = []
    if stopped.alive:
        wrong.append(f"still running: {_some(stopped.alive)}")
    if stopped.unproven:
        wrong.append(f"left alone, because it carries no label: {_some(stopped.unproven)}")
    if stopped.leaked:
        wrong.append(f"left its server's process group and had to be killed: {_some(stopped.leaked)}")
    if stopped.busy_ports:
        wrong.append(f"ports still in use: {', '.join(map(str, stopped.busy_ports))}")
    elsewhere = [running.server for running in document.servers if running.process and not running.is_seen]
    cut_off = [f"{each.name} on {each.host}" for each in elsewhere if link.lost_in(rundir.log_text(each.name))]
    if cut_off:
        wrong.append(f"not seen to end, because its host cannot be reached: {_some(cut_off)}")
    occupancy = rundir.read("devices", Occupancy)
    devices = occupancy.left if occupancy else []
    wrong += devices
    note = f"needed SIGKILL: {', '.join(stopped.killed)}" if stopped.killed else ""
    left = len(stopped.alive) + len(stopped.unproven) + len(stopped.leaked) + len(stopped.busy_ports)
    left += len(cut_off) + len(devices)
    note = "; ".join(filter(None, (note, _not_told(occupancy))))
    return [
        CheckResult(
            name="teardown",
            outcome=Outcome.ERROR if wrong else Outcome.PASS,
            measured=left,
            expected=0,
            high=0,
            n=len(document.servers),
            unit="left: processes, ports, devices" if occupancy else "left: processes, ports",
            direction="at-most",
            message="; ".join(wrong),
            details=note,
        )
    ]


def _not_told(occupancy: Occupancy | None) -> str:
    """What nobody could say of the devices, before or after."""
    if occupancy is None:
        return ""
    usages = [usage for when in (occupancy.before, occupancy.after or {}) for usage in when.values()]
    reasons = sorted({"nothing" if usage is None else usage.unknown for usage in usages} - {""})
    return f"what the devices are used for is not all told: {'; '.join(reasons)}" if reasons else ""


def _some(names: Sequence[str]) -> str:
    """A few of many: a compiler that was interrupted leaves hundreds."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
