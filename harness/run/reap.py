"""``reap``: remove what a killed harness left, and only that."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline
from harness.base.errors import CannotJudge, UsageError
from harness.host import files, ownership, stopping
from harness.host.identity import describe, here, send
from harness.host.ownership import Label, Owner
from harness.run import left as looking
from harness.run import runtimes, server_environment
from harness.run.left import Left
from harness.run.rundir import RunDir

_GRACE = 5.0

_OWNER_WAIT = 90.0
"""Seconds for a harness to stop what it started: a case's servers, their devices, its container."""

_KILL_WAIT = 5.0


class Fate(StrEnum):
    REMOVED = "removed"
    STILL_THERE = "STILL THERE"
    LEFT_ALONE = "left alone"
    KEPT = "kept"
    UNREADABLE = "cannot be read"


@dataclass(frozen=True)
class Reaped:
    """Something of ours, and what became of it."""

    what: str
    fate: Fate


def reap(runs: Path, *, end_running: bool = False, clock: Clock = SYSTEM_CLOCK) -> Iterator[Reaped]:
    """End servers and remove containers that nobody will stop any more, and files that nobody will finish.

    Servers and containers are found by their labels, which name their run directory, and by what the run directories
    below ``runs`` record. A run whose harness lives, or whose servers were kept on purpose, is left alone; so is one
    whose harness cannot be seen from here. What cannot be read is said, and keeps nothing from the rest.

    Args:
        runs: Folder that is looked through.
        end_running: Whether a living harness with a run below ``runs`` is asked to end, and ended if it does not.
        clock: For waiting.
    """
    found = looking.search(runs)
    yield from (Reaped(each, Fate.UNREADABLE) for each in found.unreadable)
    if end_running:
        for owner, folders in _running(looking.everything(found.folders, [])).items():
            if owner.is_harness:
                yield _end_owner(owner, folders[0], clock)
    held, unknown = looking.containers_of_ours()
    there = list(looking.everything(found.folders, held))
    for each in there:
        yield from _reap(each)
    for owner, folders in _running(there).items():
        more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        hint = "; `harness reap --end-running` ends it" if owner.is_harness else ""
        yield Reaped(f"{folders[0]}{more}: its harness (pid {owner.pid}) is running{hint}", Fate.LEFT_ALONE)
    yield from _reap_parts(found.parts, there, sees_containers=not unknown)


def clear(folder: Path) -> list[Reaped]:
    """End what a killed harness left of runs below a folder, and nothing elsewhere, before another one goes on there.

    Raises:
        CannotJudge: Something cannot be ended.
    """
    found = looking.search(folder)
    held, unknown = looking.containers_of_ours()
    there = [each for each in looking.everything(found.folders, held) if each.below]
    cleared = [reaped for each in there for reaped in _reap(each)]
    cleared += _reap_parts(found.parts, there, sees_containers=not unknown)
    for each in cleared:
        if each.fate is Fate.STILL_THERE:
            raise CannotJudge(f"{folder}: something of the earlier run is still there", cause=each.what, fault="host")
    return cleared


def reap_one(folder: Path) -> Iterator[Reaped]:
    """The same as :func:`reap` of a single run: somebody waits for its devices."""
    held, _ = looking.containers_of_ours()
    for each in looking.everything([folder], held):
        if each.below:
            yield from _reap(each)


def _running(there: Iterable[Left]) -> dict[Owner, list[Path]]:
    """Living harnesses of runs that were asked for, with its run directories, those first where something lives."""
    found = defaultdict[Owner, list[Path]](list)
    for each in sorted(there, key=lambda each: (not each.labels, each.folder)):
        if each.below and each.claim and each.claim.owner and each.claim.owner.lives:
            found[each.claim.owner].append(each.folder)
    return found


def _end_owner(owner: Owner, folder: Path, clock: Clock) -> Reaped:
    """Ask a harness to end, so that it stops what it started and writes what it has; end it if it does not."""
    what = f"harness (pid {owner.pid}) of {folder}"
    send([owner], signal.SIGTERM)
    send([owner], signal.SIGCONT)  # one that is stopped would not hear it
    if _gone(owner, _OWNER_WAIT, clock):
        return Reaped(f"{what}, which was running and has stopped what it started", Fate.REMOVED)
    labelled = ownership.labels()  # is stopped as after any other harness that is dead
    started = [each for each in ownership.descendants(owner) if each not in labelled]
    send([owner, *started], signal.SIGKILL)
    gone = _gone(owner, _KILL_WAIT, clock)
    return Reaped(f"{what}, which did not end within {_OWNER_WAIT:g} s", Fate.REMOVED if gone else Fate.STILL_THERE)


def _gone(owner: Owner, seconds: float, clock: Clock) -> bool:
    deadline = Deadline(seconds, clock)
    while owner.lives and not deadline.passed:
        clock.sleep(0.1)
    return not owner.lives


def _reap(left: Left) -> Iterator[Reaped]:
    """What is left of one run, unless somebody has it."""
    if left.unreadable:
        yield Reaped(left.unreadable, Fate.UNREADABLE)
        if left.labels:
            hint = "so it may have been kept; with that file moved away `harness reap` removes it"
            yield Reaped(f"{left.named} of {left.folder}: case.json cannot be read, {hint}", Fate.LEFT_ALONE)
    elif left.kept:
        if left.below and left.labels:
            yield Reaped(f"{left.named} of {left.folder}; `harness stop {left.folder}` ends it", Fate.KEPT)
    elif any(owner.lives for owner in left.owners):
        return  # said once for all runs of that harness
    elif unseen := [owner for owner in left.owners if owner.unseen]:
        # A container that was ended with the machine that was started since is nobody's.
        over = [] if left.processes or not all(owner.other_boot for owner in unseen) else left.containers
        if left.labels and not (over and not any(each.runs for each in over)):
            yield Reaped(f"{left.named} of {left.folder}: {unseen[0].unseen}; {_next_step(left)}", Fate.LEFT_ALONE)
        else:
            yield from _remove_containers(left)
    else:
        yield from _remove_containers(left)
        for run_id in sorted(left.run_ids):
            yield from _end(left, Label(run_id, str(left.folder), ""))


def _next_step(left: Left) -> str:
    if left.containers:
        return f"once it is gone: docker rm --force {' '.join(each.id[:12] for each in left.containers)}"
    return "`harness reap` there removes what it left"


def _remove_containers(left: Left) -> Iterator[Reaped]:
    for each in left.containers:
        what = f"container {each.id[:12]} of {left.folder}"
        try:
            runtimes.remove_container(left.folder, each.id)
        except (CannotJudge, OSError) as error:
            yield Reaped(f"{what}: {error}", Fate.STILL_THERE)
        else:
            yield Reaped(what, Fate.REMOVED)


def _end(left: Left, label: Label) -> Iterator[Reaped]:
    servers = []
    try:
        servers = left.servers()
    except UsageError as error:
        yield Reaped(f"{error}; what carries the label of the run is found all the same", Fate.UNREADABLE)
    found = ownership.Ours(servers, label).look()
    if found.everything:
        names = ", ".join(sorted(map(describe, found.everything)))
        with suppress(UsageError):
            server_environment.remember(RunDir(left.folder), found.everything)
        stopped = stopping.stop(servers, [], label, _GRACE)
        with suppress(OSError):
            server_environment.conceal(RunDir(left.folder))
        yield Reaped(f"{names} of {left.folder}", Fate.STILL_THERE if stopped.alive else Fate.REMOVED)
    for each in found.unproven:
        what = f"{describe(each)} of {left.folder}: on record as a server, but it carries no label"
        yield Reaped(f"{what}; if it is yours, end it by hand", Fate.LEFT_ALONE)


def _reap_parts(parts: Iterable[Path], there: Iterable[Left], *, sees_containers: bool) -> Iterator[Reaped]:
    """Files that were being written, in the directories of these runs or beside them."""
    runs_of = {each.folder: each for each in there}
    for part in parts:
        run = next((runs_of[folder] for folder in part.parents if folder in runs_of), None)
        yield from _reap_part(part, run, sees_containers=sees_containers)


def _reap_part(part: Path, run: Left | None, *, sees_containers: bool) -> Iterator[Reaped]:
    """A file that was being written, if nobody will finish it."""
    writer = files.writer(part.name)
    if writer is None or writer.lives or (run and (run.containers or any(owner.lives for owner in run.owners))):
        return
    # A container's own is gone with the container.
    contained = run is not None and run.claim is not None and run.claim.in_container and sees_containers
    if not writer.here and not (contained and writer.boot == here().boot):
        yield Reaped(f"{part}: who was writing it cannot be seen from here; remove it by hand", Fate.LEFT_ALONE)
        return
    try:
        part.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        yield Reaped(f"{part}: {error.strerror}", Fate.STILL_THERE)
    else:
        yield Reaped(str(part), Fate.REMOVED)
