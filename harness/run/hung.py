"""What is kept of servers that do not move any more, before they are stopped: where their processes stand."""

from __future__ import annotations

from collections.abc import Sequence

from harness.mechanism import files, stacks
from harness.mechanism.ours import Ours
from harness.run.context import Context
from harness.run.rundir import RunningServer

SECONDS = 20.0
"""For all servers together: evidence, for which nobody waits longer."""
_MOST = 32
"""Processes of one server that are looked at."""


def keep(context: Context, servers: Sequence[RunningServer]) -> str:
    """Write ``logs/NAME.stack`` of each of ``servers`` that still has a process; says in words where they are."""
    spy = stacks.tool(context.runtime.engine_python)
    written, reasons = [], []
    for running in servers:
        name = running.server.name
        grouped = Ours([running.process], context.label).look().grouped
        found = sorted(grouped, key=lambda each: each.pid)[:_MOST]
        if not found:
            continue
        context.progress.tick(f"keeping where the processes of {name} stand")
        text, reason = stacks.dump(found, spy, SECONDS / len(servers), context.clock)
        path = context.rundir.stack(name)
        files.write(path, text)
        written.append(str(path.relative_to(context.rundir.path)))
        reasons += [reason] if reason else []
    if not written:
        return ""
    without = f" (no Python stacks: {reasons[0]})" if reasons else ""
    return f"where its processes stand: {', '.join(written)}{without}"
