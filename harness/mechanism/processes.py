"""Processes: the only module that starts one.

A server is the leader of a process group of its own. Two things find everything that belongs to it: the group, and
a label in the environment, which also marks children that left the group. Nothing else is ever signalled.

Not a session of its own: the Linux scheduler puts each session into a scheduling group (sched_autogroup), and beside
engines that poll without sleeping everybody else then waits for seconds (docs/evidence/cpu-latency.md).
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.ground import secrets
from harness.mechanism import fabric, signals
from harness.mechanism.labels import PROCESS, Label

# What a server inherits. A list of names, so that no secret and no stray setting of the caller slips in.
_INHERITED = (
    "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME",
    "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "HF_HOME", "HF_HUB_CACHE",
    "CUDA_HOME", "CUDA_PATH", "ROCM_PATH",
)  # fmt: skip

_IMAGE = "INFERENCE_HARNESS_IMAGE"
"""Set in our images. What the environment says there is the image's doing, above all of a base that holds an engine
(library paths, switches of its build): all of it passes through but what somebody added by hand as a secret."""

_SECRET = re.compile(r"TOKEN$|SECRET|PASSWORD|CREDENTIAL|KEY$")

_CLOCK_SLACK = 2.0

_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Started:
    """A server process, identified beyond the reuse of its pid.

    Attributes:
        name: Of the server.
        pid: Also the id of its process group.
        created: When the kernel created it, in seconds since the epoch.
    """

    name: str
    pid: int
    created: float


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The allow-listed part of our own environment, in an image of ours all of it, with ``extra`` on top."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or fabric.says(name) or (_IMAGE in os.environ and not _SECRET.search(name))
    }
    return kept | dict(extra)


def start(
    name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    folder: Path,
    log: Path,
    label: Label,
) -> Started:
    """Start a server in a process group of its own and label it.

    Args:
        name: Of the server.
        argv: Program and arguments.
        env: What its environment has on top of the allow-list.
        folder: Where it runs.
        log: Its output is appended here.
        label: Of the run.

    Raises:
        OSError: The program does not exist or cannot be executed.
    """
    # setproctitle overwrites the environment area that the label is read from unless told not to.
    marks = {**label.under(PROCESS), "SPT_NOENV": "1"}
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            cwd=folder,
            env=environment({**env, **marks}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    _children[child.pid] = child
    try:
        created = psutil.Process(child.pid).create_time()
    except psutil.NoSuchProcess:  # already over, and reaped by somebody else
        created = 0.0
    return Started(name, child.pid, created)


def exit_status(started: Started) -> str | None:
    """How the process ended, in words; None while it runs."""
    child = _children.get(started.pid)
    if child is not None:
        code = child.poll()
        if code is None:
            return None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
    return None if _same(started) else "is gone"


def _same(started: Started) -> psutil.Process | None:
    try:
        process = psutil.Process(started.pid)
        young = abs(process.create_time() - started.created) < _CLOCK_SLACK
        return process if young and not _ended(process) else None
    except psutil.NoSuchProcess:
        return None


def _ended(process: psutil.Process) -> bool:
    """Whether nothing of a process runs any more.

    It is a zombie once its first thread has ended; until the last one has, its ports and its devices are in use.
    """
    return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1


def is_running(pid: int, created: float) -> bool:
    """Whether the process with this pid is still the one created then."""
    return _same(Started("", pid, created)) is not None


def created(pid: int) -> float:
    """When the kernel created the process, in seconds since the epoch."""
    return float(psutil.Process(pid).create_time())


def _living() -> Iterable[psutil.Process]:
    for child in _children.values():
        child.poll()  # collect our own, or they stay as zombies
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and not _ended(process):
                yield process
        except psutil.NoSuchProcess:
            continue


def in_groups(servers: Iterable[Started]) -> list[psutil.Process]:
    """Living processes in the process groups of ``servers``."""
    oldest = {server.pid: server.created for server in servers}
    found = []
    for process in _living():
        try:
            group = os.getpgid(process.pid)
            # The id of a group is not reused while it has members, so being younger than its leader is enough.
            if group in oldest and process.create_time() >= oldest[group] - _CLOCK_SLACK:
                found.append(process)
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue
    return found


def workers(server: Started) -> list[Started]:
    """Every process in the group of ``server`` but its leader, the server itself."""
    found = []
    for process in in_groups([server]):
        with suppress(psutil.NoSuchProcess):
            if process.pid != server.pid:
                found.append(Started(process.name(), process.pid, process.create_time()))
    return found


def run_of(process: psutil.Process) -> str:
    """The run directory that a process carries in its label; empty if it is none of ours."""
    label = _label(process)
    return label.folder if label else ""


def _label(process: psutil.Process) -> Label | None:
    try:
        return Label.read(process.environ(), PROCESS)
    except (psutil.Error, OSError):
        return None  # another user's: not ours


def labels() -> dict[psutil.Process, Label]:
    """Living processes that carry our label."""
    return {process: label for process in _living() if (label := _label(process))}


def labelled(run_id: str) -> list[psutil.Process]:
    """Living processes that carry the label of one run."""
    return [process for process, label in labels().items() if label.run_id == run_id]


def describe(process: psutil.Process) -> str:
    """A process as reports name it."""
    try:
        return f"{process.name()} ({process.pid})"
    except psutil.NoSuchProcess:
        return f"a process ({process.pid})"


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to those of ``processes`` that still exist."""
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    on_tick: Callable[[str], None] = lambda _line: None,
) -> tuple[int, str]:
    """Run a program to its end and return its exit status and output, stderr included; secrets in it are masked.

    The program runs in a process group of its own, which is ended with it when a signal interrupts the harness.

    Args:
        argv: Program and arguments.
        env: Its environment; ours if None. The model hub's token stays out of it either way.
        folder: Where it runs.
        on_tick: Called at least once a second with the last line it wrote.

    Raises:
        OSError: The program does not exist or cannot be executed.
    """
    child: subprocess.Popen[bytes] | None = None
    output = b""
    given = os.environ if env is None else env
    try:
        with signals.deferred():
            child = subprocess.Popen(
                argv,
                cwd=folder,
                env={name: value for name, value in given.items() if name not in secrets.HUB_TOKENS},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
            record = Started(Path(argv[0]).name, child.pid, created(child.pid))
        assert child.stdout is not None
        pipe = child.stdout.fileno()
        while True:
            ready, _, _ = select.select([pipe], [], [], 1.0)
            chunk = os.read(pipe, 65536) if ready else None
            if chunk == b"":
                break
            output += chunk or b""
            on_tick(_last_line(output))
        return child.wait(), secrets.mask(output.decode(errors="replace"))
    finally:
        if child is not None:
            if child.poll() is None:
                send(in_groups([record]), signal.SIGKILL)
                child.wait()
            if child.stdout is not None:
                child.stdout.close()


def _last_line(output: bytes) -> str:
    lines = output[-20_000:].decode(errors="replace").split("\n")
    return secrets.mask(next((line.strip() for line in reversed(lines) if line.strip()), ""))


def own_interpreter() -> str:
    """The interpreter that runs the harness."""
    return sys.executable
