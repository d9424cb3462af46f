"""Processes: the only module that starts one.

A server is the leader of a process group of its own, with a label in its environment. ``ours.py`` finds by both what
belongs to it.

Not a session of its own: the Linux scheduler puts each session into a scheduling group (sched_autogroup), and beside
engines that poll without sleeping everybody else then waits for seconds (docs/evidence/cpu-latency.md).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.base import secrets
from harness.host import machine, ownership, signals
from harness.host.identity import Identity
from harness.host.ownership import PROCESS, Label

# What a server inherits. A list of names, so that no secret and no stray setting of the caller slips in.
_INHERITED = (
    "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME",
    "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "HF_HOME", "HF_HUB_CACHE",
    "CUDA_HOME", "CUDA_PATH", "ROCM_PATH",
)  # fmt: skip

_IMAGE = "INFERENCE_HARNESS_IMAGE"
"""Set in our images. What the environment says there is the image's doing, above all of a base that holds an engine
(library paths, switches of its build): all of it passes through but what is a secret."""

_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Started(Identity):
    """A server process, or a worker of one. The pid of a server is also the id of its process group.

    Attributes:
        name: Of the server or of the worker's program.
    """

    name: str = ""


class WroteTooMuch(Exception):  # what it did
    """A program wrote more than anybody reads."""


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The allow-listed part of our own environment, in an image of ours all of it, with ``extra`` on top."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if (name in _INHERITED or machine.says(name) or _IMAGE in os.environ) and not secrets.is_variable(name, value)
    }
    return kept | ownership.marks() | dict(extra)


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
    return Started(**vars(Identity.of(child.pid)), name=name)


def exit_status(started: Started) -> str | None:
    """How the process ended, in words; None while it runs."""
    child = _children.get(started.pid)
    if child is None:
        return None if started.lives else "is gone"
    code = child.returncode if child.returncode is not None else _ended_with(child.pid)
    if code is None:
        return None
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"


def _ended_with(pid: int) -> int | None:
    """Exit status of a child as ``Popen`` gives it; None while it runs.

    The child is not collected: until it is, nobody else is given its pid, which is also the id of its group.
    """
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # collected by somebody else
        return 0
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def collect() -> None:
    """Collect those servers of this process that have ended, once nothing in their groups is looked for any more."""
    for child in _children.values():
        child.poll()


def workers(server: Started, label: Label) -> list[Started]:
    """Every process in the group of ``server`` but its leader, the server itself."""
    found = []
    for each in ownership.members(server, label):
        with suppress(psutil.Error):
            found.append(Started(**vars(each), name=psutil.Process(each.pid).name()))
    return found


def variables(server: Identity, names: Iterable[str]) -> dict[str, str]:
    """Those variables that a server was started with; none if it has ended, or may not be asked."""
    try:
        found = psutil.Process(server.pid).environ() if server.lives else {}
    except (psutil.Error, OSError):
        return {}
    return {name: found[name] for name in names if name in found}


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    on_tick: Callable[[str], None] = lambda _line: None,
    most: int | None = None,
) -> tuple[int, str]:
    """Run a program to its end and return its exit status and output, stderr included; secrets in it are masked.

    The program runs in a process group of its own, which is ended with it when a signal interrupts the harness.

    Args:
        argv: Program and arguments.
        env: Its environment; ours if None. The model hub's token stays out of it either way.
        folder: Where it runs.
        on_tick: Called at least once a second with the last line it wrote.
        most: Bytes of output after which it is killed; None: it may write as much as it likes.

    Raises:
        OSError: The program does not exist or cannot be executed.
        WroteTooMuch: It was killed for that.
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
        assert child.stdout is not None
        pipe = child.stdout.fileno()
        while True:
            ready, _, _ = select.select([pipe], [], [], 1.0)
            chunk = os.read(pipe, 65536) if ready else None
            if chunk == b"":
                break
            output += chunk or b""
            on_tick(_last_line(output))
            if most is not None and len(output) >= most:
                raise WroteTooMuch(f"wrote more than {most >> 20} MiB")
        return child.wait(), secrets.mask(output.decode(errors="replace"))
    finally:
        if child is not None:
            if child.returncode is None:  # not collected, so the group has its id still, even if the child has ended
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            if child.stdout is not None:
                child.stdout.close()


def _last_line(output: bytes) -> str:
    # A line that is not whole may end in the middle of a secret.
    lines = output[-20_000:].rpartition(b"\n")[0].decode(errors="replace").split("\n")
    return secrets.mask(next((line.strip() for line in reversed(lines) if line.strip()), ""))


def own_interpreter() -> str:
    """The interpreter that runs the harness."""
    return sys.executable


@dataclass(frozen=True)
class Child:
    """Another harness that this one has started for a part of its own work, or a program that it runs like one.

    It learns of this process's end, however that comes about, by the end of its standard input
    (:func:`harness.host.signals.ended_with_parent`).
    """

    process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls, arguments: Sequence[str], *, env: Mapping[str, str], log: Path | None = None, cores: Iterable[int] = ()
    ) -> Child:
        """Start a harness, in a process group of its own: a terminal's signals are this process's to pass on.

        Args:
            arguments: What follows the program's name.
            env: Variables on top of our own environment.
            log: Its output is appended here; None: it says nothing.
            cores: The only processors that it and its servers run on; all if none are named.

        Raises:
            OSError: The file cannot be written, or there may be no more processes.
        """
        child = cls.program([own_interpreter(), "-m", "harness", *arguments], env={**os.environ, **env}, log=log)
        if wanted := set(cores):
            with suppress(OSError, AttributeError):  # for speed alone; it may have ended, or the system has no such
                os.sched_setaffinity(child.process.pid, wanted)
        return child

    @classmethod
    def program(
        cls, argv: Sequence[str], *, env: Mapping[str, str], folder: Path | None = None, log: Path | None = None
    ) -> Child:
        """The same of any program, with ``env`` as its whole environment and ``folder`` as the one it runs in.

        Raises:
            OSError: It does not exist or cannot be executed, or as of :meth:`start`.
        """
        with (log or Path(os.devnull)).open("ab") as output:
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        return cls(process)

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self.process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, and wait until it has."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Give back what its end leaves here."""
        if self.process.stdin is not None:
            self.process.stdin.close()
