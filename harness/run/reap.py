"""``reap``: remove what a killed harness left, and only that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.ground.errors import UsageError
from harness.mechanism import containers, processes, stopping
from harness.run import runtimes
from harness.run.rundir import Prepared, RunDir, Servers

_GRACE = 5.0


@dataclass(frozen=True)
class Reaped:
    """Something that was removed, or that could not be."""

    what: str
    gone: bool


def reap(runs: Path) -> Iterator[Reaped]:
    """End servers and remove containers that nobody will stop any more.

    They are found by their label, which names their run directory, and by what the run directories below ``runs``
    record. A run whose harness lives, or whose servers were kept on purpose, is left alone.
    """
    ours = [] if containers.unavailable() else containers.ours()
    labels = set(processes.labels().values())
    folders = {Path(each.folder) for each in ours} | {Path(folder) for _, folder in labels}
    folders |= {path.parent for path in runs.glob("**/case.json")}
    for folder in sorted(folders):
        prepared = _prepared(folder)
        if not _abandoned(prepared):
            continue
        for container in ours:
            if Path(container.folder) == folder:
                runtimes.remove_container(folder, container.id)
                yield Reaped(f"container {container.id[:12]} of {folder}", gone=True)
        ids = {run_id for run_id, where in labels if Path(where) == folder} | ({prepared.run_id} if prepared else set())
        for run_id in sorted(ids):
            yield from _end(folder, run_id, prepared)


def _end(folder: Path, run_id: str, prepared: Prepared | None) -> Iterator[Reaped]:
    # Process ids on record count inside the container that they were started in, and nowhere else.
    local = prepared is not None and prepared.runtime is not None and prepared.runtime.kind == "local"
    servers = RunDir(folder).read("servers", Servers) if local else None
    started = [running.process for running in servers.servers] if servers and not servers.stopped else []
    found = {*processes.in_groups(started), *processes.labelled(run_id)}
    if found:
        names = ", ".join(sorted(processes.describe(process) for process in found))
        stopped = stopping.stop(started, [], run_id, _GRACE)
        yield Reaped(f"{names} of {folder}", gone=not stopped.alive)


def _prepared(folder: Path) -> Prepared | None:
    try:
        return RunDir.existing(folder).prepared()
    except UsageError:
        return None


def _abandoned(prepared: Prepared | None) -> bool:
    """Whether nobody will stop the run: its directory is gone, or its harness is. No owner: kept on purpose."""
    if prepared is None:
        return True
    owner = prepared.owner
    return owner is not None and not processes.is_running(owner.pid, owner.created)
