"""What is ours: every process of a run, and nobody else's.

A process is taken for a run's only if one of these proves it, in this order:

1. It carries the label of the run: the same run id and the same run directory.
2. It was taken before, and is still the same process.
3. It is on record as a server of the run, and is a child of this very process: it may have cleared its environment.
4. It is in the process group of a server on record, and that group is proven to be still that server's: by the server
   itself, proven as above or ended and not yet collected by its parent, which keeps its pid from anybody else; or by
   another member, proven as above.
5. Its parent is proven as above, and was there before it.

What carries another label is never taken. What is on record counts only if boot, namespace and start agree.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.mechanism import identity
from harness.mechanism.identity import Identity, Seen
from harness.mechanism.labels import PROCESS, Label


@dataclass(frozen=True)
class Found:
    """Living processes of a run.

    Attributes:
        grouped: In process groups of its servers.
        escaped: Elsewhere.
        unproven: Started as the record says, and without a label: it may have cleared its environment. Not ours to
            touch.
    """

    grouped: frozenset[Identity]
    escaped: frozenset[Identity]
    unproven: frozenset[Identity]

    @property
    def everything(self) -> frozenset[Identity]:
        """That may be touched."""
        return self.grouped | self.escaped


class Ours:
    """The processes of one run, followed from one look to the next.

    Args:
        servers: On record.
        label: Of the run.
    """

    def __init__(self, servers: Sequence[Identity], label: Label) -> None:
        self._servers = [server for server in servers if server.here]
        self._label = label
        self._known: frozenset[Identity] = frozenset()

    def look(self) -> Found:
        """What is there now."""
        seen = identity.look()
        living = {pid: each for pid, each in seen.items() if not each.ended and pid != os.getpid()}
        marks = _labels(living.values())
        strangers = {pid for pid, mark in marks.items() if not mark.same_run(self._label)}
        proven = marks.keys() - strangers
        proven |= {each.pid for each in self._known if each.pid in living and living[each.pid].identity == each}
        leaders = {each.pid: seen[each.pid] for each in self._servers if _is(each, seen)}
        proven |= {pid for pid, each in leaders.items() if pid in living and each.parent == os.getpid()} - strangers
        groups = {pid for pid, each in leaders.items() if each.ended}
        numbers = {each.pid for each in self._servers}
        while True:
            groups |= {living[pid].group for pid in proven} & numbers
            more = {
                pid
                for pid, each in living.items()
                if pid not in proven | strangers and (each.group in groups or _child_of(each, proven, living))
            }
            if not more:
                break
            proven |= more
        grouped = frozenset(living[pid].identity for pid in proven if living[pid].group in numbers)
        self._known = frozenset(living[pid].identity for pid in proven)
        unproven = frozenset(living[pid].identity for pid in leaders.keys() & living.keys() - proven - strangers)
        return Found(grouped, self._known - grouped, unproven)


def _is(server: Identity, seen: dict[int, Seen]) -> bool:
    return server.pid in seen and server.same(seen[server.pid].identity)


def _child_of(each: Seen, proven: set[int], living: dict[int, Seen]) -> bool:
    # Younger than its parent: else the pid was another's when it was read, or the parent adopted it.
    return each.parent in proven and each.identity.ticks >= living[each.parent].identity.ticks


def _labels(processes: Iterable[Seen]) -> dict[int, Label]:
    found = identity.environments(processes).items()
    return {pid: label for pid, each in found if (label := Label.read(each, PROCESS))}


def labels() -> dict[Identity, Label]:
    """Living processes that carry a label of ours, whatever the run."""
    living = {pid: each for pid, each in identity.look().items() if not each.ended and pid != os.getpid()}
    return {living[pid].identity: label for pid, label in _labels(living.values()).items()}


def run_of(pid: int) -> str:
    """The run directory that a process carries in its label; empty if it is none of ours."""
    seen = identity.see(pid)
    label = _labels([seen]).get(pid) if seen else None
    return label.folder if label else ""


def members(server: Identity, label: Label) -> list[Identity]:
    """Every process in the group of ``server`` but its leader, the server itself."""
    found = Ours([server], label).look().grouped
    return sorted((each for each in found if each.pid != server.pid), key=lambda each: each.pid)


def descendants(process: Identity) -> list[Identity]:
    """What a living process started, and what that started, as far as no parent in between has ended."""
    living = {pid: each for pid, each in identity.look().items() if not each.ended}
    if process.pid not in living or not process.same(living[process.pid].identity):
        return []
    proven, found = {process.pid}, list[Identity]()
    while more := {pid for pid, each in living.items() if pid not in proven and _child_of(each, proven, living)}:
        proven |= more
        found += [living[pid].identity for pid in more]
    return found
