"""``reap``: remove what a killed harness left, and only that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.ground.errors import UsageError
from harness.mechanism import containers, processes, stopping
from harness.mechanism.labels import Label
from harness.mechanism.owners import Owner
from harness.run import runtimes
from harness.run.rundir import Prepared, RunDir, Servers

_GRACE = 5.0
_UNSEEN = "its harness is in another PID namespace, as one in a container is, and cannot be seen from here to be dead"


class Fate(StrEnum):
    REMOVED = "removed"
    STILL_THERE = "STILL THERE"
    LEFT_ALONE = "left alone"


@dataclass(frozen=True)
class Reaped:
    """Something of ours, and what became of it."""

    what: str
    fate: Fate


@dataclass(frozen=True)
class _Left:
    """What there is of one run directory, the directory itself perhaps not."""

    folder: Path
    prepared: Prepared | None
    containers: list[str]
    labels: set[Label]

    @property
    def owners(self) -> list[Owner]:
        """Who will stop it: on record, or, where the record cannot be read, in the labels."""
        named = [self.prepared.owner] if self.prepared else [Owner.parse(label.owner) for label in self.labels]
        return [owner for owner in named if owner]

    @property
    def run_ids(self) -> set[str]:
        """Of what is there."""
        return {label.run_id for label in self.labels} | ({self.prepared.run_id} if self.prepared else set())

    @property
    def kept(self) -> bool:
        """Whether its servers were kept on purpose: its directory stands for it, and nobody else."""
        return self.prepared is not None and self.prepared.owner is None


def reap(runs: Path) -> Iterator[Reaped]:
    """End servers and remove containers that nobody will stop any more.

    They are found by their labels, which name their run directory, and by what the run directories below ``runs``
    record. A run whose harness lives, or whose servers were kept on purpose, is left alone; so is one whose harness
    cannot be seen from here, and that is said.
    """
    for left in _found(runs):
        if left.kept or any(owner.lives for owner in left.owners):
            continue
        if any(owner.elsewhere for owner in left.owners):
            if left.labels:
                yield Reaped(f"{_named(left)} of {left.folder}: {_UNSEEN}; {_next_step(left)}", Fate.LEFT_ALONE)
            continue
        for container in left.containers:
            runtimes.remove_container(left.folder, container)
            yield Reaped(f"container {container[:12]} of {left.folder}", Fate.REMOVED)
        for run_id in sorted(left.run_ids):
            yield from _end(left, run_id)


def _found(runs: Path) -> Iterator[_Left]:
    ours = containers.ours()
    labels = {each.label for each in ours} | set(processes.labels().values())
    folders = {Path(label.folder) for label in labels} | {path.parent for path in runs.glob("**/case.json")}
    for folder in sorted(folders):
        yield _Left(
            folder,
            _prepared(folder),
            [each.id for each in ours if Path(each.label.folder) == folder],
            {label for label in labels if Path(label.folder) == folder},
        )


def _named(left: _Left) -> str:
    if left.containers:
        return f"container {', '.join(each[:12] for each in left.containers)}"
    return ", ".join(sorted(processes.describe(each) for run_id in left.run_ids for each in processes.labelled(run_id)))


def _next_step(left: _Left) -> str:
    if left.containers:
        return f"once it is gone: docker rm --force {' '.join(each[:12] for each in left.containers)}"
    return "`harness reap` there removes what it left"


def _end(left: _Left, run_id: str) -> Iterator[Reaped]:
    # Process ids on record count inside the container that they were started in, and nowhere else.
    prepared = left.prepared
    local = prepared is not None and prepared.runtime is not None and prepared.runtime.kind == "local"
    servers = RunDir(left.folder).read("servers", Servers) if local else None
    started = [running.process for running in servers.servers] if servers and not servers.stopped else []
    found = {*processes.in_groups(started), *processes.labelled(run_id)}
    if found:
        names = ", ".join(sorted(processes.describe(process) for process in found))
        stopped = stopping.stop(started, [], run_id, _GRACE)
        yield Reaped(f"{names} of {left.folder}", Fate.STILL_THERE if stopped.alive else Fate.REMOVED)


def _prepared(folder: Path) -> Prepared | None:
    try:
        return RunDir.existing(folder).prepared()
    except UsageError:
        return None
