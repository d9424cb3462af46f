"""Running the harness as its users do: as a program, with case files of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import tomlkit
from lxml import etree

from harness.host import ports
from harness.host.ownership import PROCESS
from harness.reports.result import Result
from harness.run.rundir import Servers
from harness.upkeep.generate import outdated

REPOSITORY = Path(__file__).parents[1]
BASELINES = REPOSITORY / "baselines"
XSD = etree.XMLSchema(etree.parse(REPOSITORY / "tests" / "data" / "junit-10.xsd"))

in_a_fork: Callable[[Sequence[str], Mapping[str, str], Path], subprocess.CompletedProcess[str] | None] | None = None
"""Runs a command in less time, or says that it cannot; set by tests on the scripted engine (``tests/forked.py``)."""

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
"""Environment in which no container engine answers."""


def edited(
    folder: Path, case: str, changes: Mapping[str, Any], *, generate: bool = True, platform: str = "cpu"
) -> Path:
    """A folder of cases that holds one case of ours with some keys changed, for one platform unless they say more.

    Args:
        folder: Where to.
        case: Its id.
        changes: New values by dotted key; None deletes the key.
        generate: Compute the expected values anew.
        platform: The one that is left.
    """
    source = BASELINES / f"{case}.toml"
    target = folder / f"{case}.toml"
    target.parent.mkdir(parents=True)
    shutil.copy(BASELINES / "_defaults.toml", folder)
    shutil.copy(source.parent / "_suite.toml", target.parent)
    document = tomlkit.parse(source.read_text())
    document["platforms"] = [platform]
    tables = document.pop("platform", {})
    if platform in tables:
        document["platform"] = {platform: tables[platform]}

    def apply(keys: Mapping[str, Any]) -> None:
        for dotted, value in keys.items():
            *path, last = dotted.split("/")
            table: Any = document
            for part in path:
                table = table.setdefault(part, {})
            if value is None:
                del table[last]
            else:
                table[last] = value
        target.write_text(tomlkit.dumps(document))

    apply({key: value for key, value in changes.items() if not key.startswith("checks/")})
    if generate:
        outdated(folder, write=True)
        document = tomlkit.parse(target.read_text())
    apply({key: value for key, value in changes.items() if key.startswith("checks/")})
    return folder


@contextmanager
def listening(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve in a thread as long as the block lasts."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Threads of requests may live on, and what they say of a client that is gone now belongs to no test.
        setattr(server, "handle_error", lambda *_: None)  # noqa: B010 # mypy takes the assignment of a method amiss
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Run:
    """A finished ``harness run`` of one case."""

    code: int
    output: str
    runs: Path

    @property
    def directory(self) -> Path:
        return next(path.parent for path in sorted(self.runs.glob("*/case.json")))

    @property
    def result(self) -> Result:
        return Result.model_validate_json((self.directory / "result.json").read_bytes())

    @property
    def errors(self) -> dict[str, str]:
        """The same, without what was skipped."""
        skipped = [
            case.get("name") for case in validated(self.directory / "junit.xml").iterfind(".//testcase[skipped]")
        ]
        return {name: message for name, message in self.problems.items() if name not in skipped}

    @property
    def problems(self) -> dict[str, str]:
        """Message of every testcase that did not pass, by name, after the file was validated."""
        document = validated(self.directory / "junit.xml")
        return {
            case.get("name"): child.get("message", "")
            for case in document.iter("testcase")
            for child in case
            if child.tag in ("failure", "error", "skipped")
        }


def validated(path: Path) -> Any:
    """A JUnit file that is valid against the XSD."""
    document = etree.parse(path)
    XSD.assertValid(document)
    return document


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without what would reach a container engine unless the test wants one."""
    return {**os.environ, **NO_ENGINE, **(extra or {})}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "harness", *map(str, arguments)]


def harness(
    *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path = REPOSITORY
) -> subprocess.CompletedProcess[str]:
    """Run one command of the harness to its end."""
    told = [str(argument) for argument in arguments]
    done = in_a_fork(told, environment(env), cwd) if in_a_fork else None
    return done or subprocess.run(
        command(*told), env=environment(env), capture_output=True, text=True, check=False, cwd=cwd
    )


def patched(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a script that changes the harness and then calls it."""
    argv = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False, cwd=REPOSITORY)


def run(folder: Path, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Run:
    """``harness run`` with run directories below ``folder``."""
    runs = folder / "runs"
    done = harness("run", "--runs", runs, *arguments, env=env)
    return Run(done.returncode, done.stdout + done.stderr, runs)


def begin(
    folder: Path,
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    by: Callable[..., list[str]] = lambda *argv: list(argv),
) -> subprocess.Popen[str]:
    """Start ``harness run`` and return while it runs; ``by`` makes the command of another place of it."""
    return subprocess.Popen(
        by(*command("run", "--runs", folder / "runs", *arguments)),
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
        process_group=0,
    )


def end(process: subprocess.Popen[str], number: signal.Signals | None, folder: Path, timeout: float = 60) -> Run:
    """Send a signal, if one is given, and wait."""
    if number is not None:
        process.send_signal(number)
    output, _ = process.communicate(timeout=timeout)
    return Run(process.returncode, output, folder / "runs")


def living_in(folder: Path) -> list[psutil.Process]:
    """Living processes of runs below ``folder``, by their label."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            where = process.environ().get(PROCESS.folder, "")
            if where.startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def recorded(folder: Path, text: str) -> bool:
    """Whether a run below ``folder`` has said this."""
    return any(text in each.read_text() for each in folder.glob("runs/*/events.jsonl"))


def started_in(folder: Path, count: int = 3, seconds: float = 90.0) -> list[psutil.Process]:
    """Wait until that many processes of runs below ``folder`` live, and return them.

    They are to be asked themselves from then on: one that is just executing another program has no label for a moment.
    """
    return list(wait_for(lambda: found if len(found := living_in(folder)) >= count else None, seconds))


def all_live(processes: Iterable[psutil.Process]) -> bool:
    """Whether none of them has ended."""
    with suppress(psutil.NoSuchProcess):
        return all(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)
    return False


def left_in(folder: Path) -> list[str]:
    """Those that live, in words."""
    found = []
    for process in living_in(folder):
        with suppress(psutil.Error, OSError):
            found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found


def busy_ports(folder: Path) -> list[int]:
    """Ports of servers in run directories below ``folder`` that are still in use."""
    documents = [Servers.model_validate_json(path.read_bytes()) for path in folder.glob("**/servers.json")]
    used = [port for each in documents for running in each.servers for port in running.server.ports.values()]
    return [port for port in used if not ports.is_free(port)]


class FakeClock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def serves(rundir: Path) -> bool:
    """Whether a run has started a server: its record is there before, and empty."""
    record = rundir / "servers.json"
    return record.exists() and bool(Servers.model_validate_json(record.read_bytes()).servers)


def wait_for(what: Any, seconds: float = 30.0) -> Any:
    """Call ``what`` until it returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return found


def tensors(content: bytes = b"weights!") -> bytes:
    """A file of tensors that is as long as its header says."""
    header = json.dumps(
        {"weight": {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}}
    ).encode()
    return len(header).to_bytes(8, "little") + header + content


def in_hub_cache(cache: Path, repo: str, commit: str, files: Mapping[str, bytes]) -> None:
    """Put a model into a folder laid out as the hub's cache: snapshots of links into blobs."""
    root = cache / f"models--{repo.replace('/', '--')}"
    snapshot, blobs = root / "snapshots" / commit, root / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir(exist_ok=True)
    for name, content in files.items():
        blob = blobs / f"{name}.blob"
        blob.write_bytes(content)
        (snapshot / name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
