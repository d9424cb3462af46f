"""What can be done on a host: files put and fetched, programs started, watched and ended. It knows no Ray."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import tarfile
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.base.clock import SYSTEM_CLOCK
from harness.base.domain import LOOPBACK, Device, Platform
from harness.base.errors import UsageError
from harness.devices import accelerators
from harness.host import files, identity, machine, processes
from harness.host.identity import Identity
from harness.host.ports import Ports
from harness.host.processes import Child
from harness.hosts import own_code
from harness.hosts.held import Order, signal_line

_PREFIX = "inference-harness-host-"
_HOME = re.compile(rf"{_PREFIX}{identity.NAME}-\w+")
_GRACE = 10.0
_LISTEN_EVERY = 1.0
_OF_RAY = ("RAY_", "OMP_NUM_THREADS", "PYTHONBREAKPOINT")
"""What Ray sets in its workers' environment and nobody else should hear of, by how the names begin."""


@dataclass(frozen=True)
class About:
    """A host as the harness finds it there.

    Attributes:
        lacking: What the harness depends on and the host lacks.
        devices: The accelerators that may be used.
        problem: Why there are none, or not all; empty if that is as it should be.
        memory: Bytes.
    """

    lacking: tuple[str, ...]
    devices: tuple[Device, ...]
    problem: str
    memory: int


class Agent:
    """On one host. When its process ends, however that comes about, what it started is ended, too.

    Args:
        address: That other hosts know this one by.
    """

    def __init__(self, address: str = LOOPBACK) -> None:
        self._address = address
        self._ports = Ports(address)
        _clear_left()
        self._home = tempfile.mkdtemp(prefix=f"{_PREFIX}{Identity.me().as_name}-")
        self._started: dict[int, Child] = {}
        self._heard = SYSTEM_CLOCK.monotonic()

    def address(self) -> str:
        """That other hosts know this one by."""
        return self._address

    def interface(self) -> str:
        """The network interface that has the address; empty if none has."""
        found = psutil.net_if_addrs().items()
        return next((name for name, has in found if any(each.address == self._address for each in has)), "")

    def has(self, path: str) -> bool:
        """Whether there is a file or folder."""
        return Path(path).exists()

    def about(self, platform: Platform) -> About:
        """What there is on the host for points of a platform, and what the harness lacks there."""
        seen = accelerators.look(platform)
        return About(tuple(own_code.lacking()), tuple(seen.devices), seen.problem, machine.memory()[1])

    def home(self) -> str:
        """A folder of the agent's own, which is removed with :meth:`end`."""
        return self._home

    def free_ports(self, count: int) -> list[int]:
        """So many ports in a row, free on the address; none is given twice.

        Raises:
            OSError: There are none.
        """
        first = self._ports.take(count)
        return list(range(first, first + count))

    def put(self, path: str, content: bytes) -> None:
        """Write a file; its folder is made. Raises: OSError."""
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write(place, content)

    def get(self, path: str, offset: int = 0) -> bytes:
        """Content of a file from a byte on, as of a log that grows; nothing if there is none. Raises: OSError."""
        try:
            with Path(path).open("rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b""

    def put_folder(self, path: str, packed: bytes) -> None:
        """Make a folder of what :func:`pack` made. Raises: UsageError, OSError."""
        unpack(packed, Path(path))

    def get_folder(self, path: str) -> bytes:
        """A folder as :func:`pack` makes it; of one that is not there, an empty one. Raises: OSError."""
        return pack(Path(path))

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        folder: str,
        log: str,
        grace: float = _GRACE,
    ) -> int:
        """Start a program in a process group of its own, and return a number that stands for it here.

        Args:
            argv: Program and arguments.
            env: What its environment has on top of the allow-list that servers get.
            folder: Where it runs.
            log: Its output is appended here.
            grace: Seconds from SIGTERM to SIGKILL when it is ended.

        Raises:
            OSError: There may be no more processes. A program that does not exist ends with 127, and its log says why.
        """
        return self._hold(Order(tuple(argv), processes.environment(env), folder, log, grace))

    def start_harness(
        self, arguments: Sequence[str], *, env: Mapping[str, str], folder: str, log: str, grace: float
    ) -> int:
        """The same for this harness itself, with all of this process's environment.

        Args:
            arguments: What follows the program's name.
            env: Variables on top.
            folder: As of :meth:`start`, like what follows.
            log: The same.
            grace: The same.
        """
        ours = {name: value for name, value in os.environ.items() if not name.startswith(_OF_RAY)}
        packages = os.pathsep.join(filter(None, (str(own_code.root()), ours.get("PYTHONPATH"))))
        argv = (processes.own_interpreter(), "-m", "harness", *arguments)
        return self._hold(Order(argv, ours | {"PYTHONPATH": packages} | dict(env), folder, log, grace))

    def _hold(self, order: Order) -> int:
        child = Child.start(["hold"], env={"PYTHONPATH": str(own_code.root())})
        self._started[child.process.pid] = child
        self._tell(child, order.line())
        return child.process.pid

    def end_unheard(self, seconds: float) -> None:
        """From here on, end everything once :meth:`poll` was not called for so long.

        Who asks may be cut off from this host, which Ray takes a minute or more to believe.
        """
        threading.Thread(target=self._end_unheard, args=(seconds,), daemon=True).start()

    def _end_unheard(self, seconds: float) -> None:
        self._heard = SYSTEM_CLOCK.monotonic()
        while SYSTEM_CLOCK.monotonic() - self._heard < seconds:
            SYSTEM_CLOCK.sleep(_LISTEN_EVERY)
        self.end()

    def poll(self, number: int) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        self._heard = SYSTEM_CLOCK.monotonic()
        return self._started[number].status

    def signal(self, number: int, which: int) -> None:
        """Send a signal to the group of a program, unless it has ended."""
        self._tell(self._started[number], signal_line(signal.Signals(which)))

    def end(self) -> None:
        """End all that was started, and remove the folder of the agent."""
        for child in self._started.values():
            child.close()
        for child in self._started.values():
            child.process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    @staticmethod
    def _tell(child: Child, line: bytes) -> None:
        with suppress(BrokenPipeError, ValueError):  # it has ended
            assert child.process.stdin is not None
            child.process.stdin.write(line)
            child.process.stdin.flush()


def _clear_left() -> None:
    """Remove the folders of agents that were killed, once nothing runs in them any more."""
    here = identity.here()
    for path in Path(tempfile.gettempdir()).iterdir():
        found = _HOME.fullmatch(path.name)
        if not found:
            continue
        agent = identity.from_name(found)
        elsewhere = agent.boot == here.boot and agent.namespace != here.namespace
        if not (elsewhere or agent.lives or identity.any_works_in(path)):
            shutil.rmtree(path, ignore_errors=True)


def pack(folder: Path) -> bytes:
    """Plain files and folders below a folder, as a compressed tar archive. What goes away meanwhile is left out."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                continue
            with suppress(FileNotFoundError):
                content = path.read_bytes() if path.is_file() else b""  # a log may grow: its length is that of now
                member = archive.gettarinfo(path, path.relative_to(folder).as_posix())
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def unpack(packed: bytes, folder: Path) -> None:
    """Write what :func:`pack` made below a folder, which is made; each file is whole or not there.

    Raises:
        UsageError: It is no such archive, or a member is no plain file or folder, or leads out of the folder.
        OSError: The system refused a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            for member in archive:
                if not (member.isreg() or member.isdir()):
                    raise UsageError(f"{folder}: {member.name!r} is no plain file; nothing else is taken from a host")
                place = Path(tarfile.data_filter(member, str(folder)).name)
                if member.isdir():
                    (folder / place).mkdir(parents=True, exist_ok=True)
                    continue
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(member)
                assert content is not None
                files.write(folder / place, content.read())
    except tarfile.FilterError as error:
        raise UsageError(f"{folder}: {error.tarinfo.name!r} leads out of the folder; it is not taken") from None
    except (tarfile.TarError, EOFError) as error:
        raise UsageError(f"{folder}: no archive came from the host: {error}") from None
