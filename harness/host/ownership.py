"""Jobs of CI systems: the marks in the environment by which a runner finds what a job left, to end it.

A server's environment is an allow-list. Without these in it, a runner that ends a job's leftovers would end the
harness and leave its servers.

Labels: what says of a process or a container that it is ours, of which run it is, and who will stop that run.

Owners: the harness process that will stop what a run started, and whether it lives.

What is ours: every process of a run, and nobody else's.

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

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import psutil

from harness.host import identity
from harness.host.identity import Identity, Seen

# GitHub's runner kills whatever carries its value when a job has ended. Jenkins ends what carries the cookie of a step
# that is cancelled (JENKINS_SERVER_COOKIE) or of the `node` block that is left (JENKINS_NODE_COOKIE).
_MARKS = ("RUNNER_TRACKING_ID", "JENKINS_NODE_COOKIE", "JENKINS_SERVER_COOKIE", "HUDSON_COOKIE", "HUDSON_SERVER_COOKIE")

# A freestyle build of Jenkins is known by these together with its server's cookie: one that differs is another build.
_OF_JENKINS = ("BUILD_ID", "BUILD_NUMBER", "BUILD_TAG", "JOB_BASE_NAME", "JOB_NAME")


def marks(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What marks a process as one of the job that ``environment`` belongs to; empty outside of such a job."""
    names = (*_MARKS, *_OF_JENKINS) if "JENKINS_SERVER_COOKIE" in environment else _MARKS
    return {name: environment[name] for name in names if name in environment}


class Names(NamedTuple):
    """What the parts of a label are called where it is kept."""

    run_id: str
    folder: str
    owner: str


PROCESS = Names("INFERENCE_HARNESS_RUN", "INFERENCE_HARNESS_RUN_DIRECTORY", "INFERENCE_HARNESS_OWNER")
"""Environment variables of every process of a run."""

CONTAINER = Names("org.inference-harness.run", "org.inference-harness.run-directory", "org.inference-harness.owner")
"""Labels of every container of a run."""


class Label(NamedTuple):
    """The label of one run.

    Attributes:
        run_id: Of the run.
        folder: The run directory.
        owner: The harness that will stop the run, as ``Owner.text`` writes it.
    """

    run_id: str
    folder: str
    owner: str

    def under(self, names: Names) -> dict[str, str]:
        """What is to be kept, and under which names."""
        return dict(zip(names, self, strict=True))

    def same_run(self, other: Label) -> bool:
        """Whether both are of one run in one place. A copy of a run directory has the run id, and is another place."""
        return (self.run_id, self.folder) == (other.run_id, other.folder)

    @classmethod
    def read(cls, kept: Mapping[str, str], names: Names) -> Self | None:
        """The label in an environment or in labels; None if there is none."""
        return cls(*(kept.get(name, "") for name in names)) if names.run_id in kept else None


_PROGRAM = "harness"


@dataclass(frozen=True)
class Owner(Identity):
    """A harness process, as a run directory and labels name it."""

    @property
    def unseen(self) -> str:
        """Why nobody can see from here whether it lives; empty if it can be seen."""
        if not self.ticks:
            return "its harness is of another version, and cannot be seen from here to be dead"
        boot, namespace = identity.here()
        if self.boot != boot:
            return (
                "its harness ran on another machine, or before this one was started last, "
                "and cannot be seen from here to be dead"
            )
        if self.namespace != namespace:
            return (
                "its harness is in another PID namespace, as one in a container is, "
                "and cannot be seen from here to be dead"
            )
        return ""

    @property
    def other_boot(self) -> bool:
        """Whether this machine was started since, or it is another one."""
        return self.ticks > 0 and self.boot != identity.here().boot

    @property
    def is_harness(self) -> bool:
        """Whether it is the harness's own program, and none that uses it as a library."""
        try:
            argv = psutil.Process(self.pid).cmdline()
        except psutil.Error:
            return False
        named = any(Path(each).name == _PROGRAM for each in argv[:2])
        return named or any(pair == ("-m", _PROGRAM) for pair in pairwise(argv))

    @property
    def text(self) -> str:
        """For a label."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From a label; None if it names nobody. One that another version wrote cannot be seen from anywhere."""
        if not text:
            return None
        try:
            found = json.loads(text)
            return cls(int(found["pid"]), int(found["ticks"]), str(found["boot"]), str(found["namespace"]))
        except (TypeError, ValueError, LookupError, RecursionError):
            return cls(pid=0)


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
