"""Plans as people and programs read them."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

import rich.box
import rich.console
import rich.markup
import rich.table

from harness.base.domain import Platform
from harness.base.errors import UsageError
from harness.plan import limits
from harness.plan.points import Planned
from harness.plan.show import servers

Format = Literal["table", "json", "github"]

MATRIX_LIMIT = 256
"""Jobs that GitHub makes of one matrix at most."""

WAIT_FOR_DEVICES = 1800
"""Seconds for which a point of a job waits for devices: as long another runner of the host may need them."""


def render(planned: Sequence[Planned], form: Format, variable: Callable[[Platform], str]) -> str:
    """The plan in one of its forms; what does not run is in it with its reason (not in ``github``, which runs it).

    Args:
        planned: The points.
        form: Which.
        variable: A platform's visible-devices variable.

    Raises:
        UsageError: It does not fit the form.
    """
    if form == "table":
        return _table(planned)
    if form == "json":
        return json.dumps([_entry(each, variable(each.platform)) for each in planned], indent=2)
    return json.dumps({"include": _jobs(planned)}, separators=(",", ":"))


def _jobs(planned: Sequence[Planned]) -> list[dict[str, object]]:
    """One job for each session and number of devices, so that each waits for no larger host than it needs.

    Raises:
        UsageError: There are more of them than a matrix may have.
    """
    groups: dict[tuple[str, int], list[Planned]] = defaultdict(list)
    for each in planned:
        if not each.skip and each.on_menu:
            groups[each.session, each.devices].append(each)
    if len(groups) > MATRIX_LIMIT:
        raise UsageError(
            f"{len(groups)} jobs, and GitHub takes {MATRIX_LIMIT} a matrix; use --suite, --platform, --shard"
        )
    return [_job(groups[key]) for key in sorted(groups)]


def _job(together: Sequence[Planned]) -> dict[str, object]:
    """What one job runs, where, and how long at most; one id a line.

    Raises:
        UsageError: It may take longer than a job may.
    """
    one = together[0]
    wait = WAIT_FOR_DEVICES if one.devices else 0
    minutes = limits.job_minutes(each.case for each in together) + math.ceil(wait * len(together) / 60)
    if minutes > limits.JOB_MOST:
        raise UsageError(
            f"{one.session}: a job of {len(together)} points may take {minutes} minutes, and GitHub gives one "
            f"{limits.JOB_MOST}; use --shard"
        )
    return {
        "name": f"{one.session}-{one.devices}" if one.devices else one.session,
        "session": one.session,
        "engine": one.case.engine.name,
        "platform": one.platform,
        "devices": one.devices,
        "cases": "\n".join(each.id for each in together),
        "runs_on": ["self-hosted", one.platform, *([f"gpu-{one.devices}"] if one.devices else [])],
        "wait_for_devices": wait,
        "timeout_minutes": minutes,
    }


def _entry(each: Planned, variable: str) -> dict[str, object]:
    return {
        "case": each.id,
        "platform": each.platform,
        "session": each.session,
        "runs": not each.skip,
        "reason": each.skip,
        "engine_version": each.case_file.version,
        "unpinned": each.unpinned,
        "devices": each.devices,
        "device_memory_gib": each.case.device_memory_gib,
        "device_architectures": each.case.device_architectures,
        "expected_seconds": round(each.seconds),
        "servers": [
            {
                "name": server.name,
                "env": dict(sorted(server.env.items())),
                "pass_env": list(server.pass_env),
                "argv": list(server.argv),
            }
            for server in servers(each.case, variable)
        ],
    }


def _table(planned: Sequence[Planned]) -> str:
    table = rich.table.Table(box=rich.box.SIMPLE)
    for name in ("session", "case", "devices", "seconds", "runs"):
        table.add_column(name, justify="right" if name in ("devices", "seconds") else "left", overflow="fold")
    for each in planned:
        seconds = str(round(each.seconds))
        runs = each.skip or f"yes{'; unpinned: ' if each.unpinned else ''}{', '.join(each.unpinned)}"
        session = each.session if each.on_menu else "none"
        table.add_row(session, rich.markup.escape(each.id), str(each.devices), seconds, runs)
    running = [each for each in planned if not each.skip]
    console = rich.console.Console(width=200, highlight=False)
    with console.capture() as captured:
        console.print(table)
    total = round(sum(each.seconds for each in running))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    versions = sorted({f"{each.engine_version} on {each.platform}" for each in planned if each.conditional})
    said = [f"as it is on {'; '.join(versions)} (--engine-version names another)"] if versions else []
    return "\n".join(
        [*lines, *said, f"{len(running)} of {len(planned)} run, about {total // 60} min one after the other"]
    )
