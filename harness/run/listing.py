"""Plans as people and programs read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

import rich.box
import rich.console
import rich.markup
import rich.table

from harness.policy.plan import Planned
from harness.policy.show import servers

Format = Literal["table", "json", "github"]


def render(planned: Sequence[Planned], form: Format) -> str:
    """The plan in one of its forms; what does not run is in it with its reason (not in ``github``, which runs it)."""
    if form == "table":
        return _table(planned)
    if form == "json":
        return json.dumps([_entry(each) for each in planned], indent=2)
    jobs = [
        {"session": each.session, "case": each.id, "devices": each.devices, "platform": each.platform}
        for each in planned
        if not each.skip
    ]
    return json.dumps({"include": jobs}, separators=(",", ":"))


def _entry(each: Planned) -> dict[str, object]:
    return {
        "case": each.id,
        "platform": each.platform,
        "session": each.session,
        "runs": not each.skip,
        "reason": each.skip,
        "devices": each.devices,
        "device_memory_gib": each.case.device_memory_gib,
        "expected_seconds": each.case.expected_seconds,
        "servers": [
            {"name": server.name, "env": dict(sorted(server.env.items())), "argv": list(server.argv)}
            for server in servers(each.case, each.platform)
        ],
    }


def _table(planned: Sequence[Planned]) -> str:
    table = rich.table.Table(box=rich.box.SIMPLE)
    for name in ("session", "case", "devices", "seconds", "runs"):
        table.add_column(name, justify="right" if name in ("devices", "seconds") else "left", overflow="fold")
    for each in planned:
        seconds = str(each.case.expected_seconds)
        table.add_row(each.session, rich.markup.escape(each.id), str(each.devices), seconds, each.skip or "yes")
    running = [each for each in planned if not each.skip]
    console = rich.console.Console(width=200, highlight=False)
    with console.capture() as captured:
        console.print(table)
    total = sum(each.case.expected_seconds for each in running)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*lines, f"{len(running)} of {len(planned)} run, about {total // 60} min one after the other"])
