"""A storm: runs killed in every way at random moments, and what is then left is looked for without the product's help.

One kill is a run in a folder of its own, with strangers beside it: a process whose number stands in a copied run
directory, and a neighbour run that goes on. After it the harness has ended, `harness reap` has run, nothing of the run
is left, its files are whole, and the strangers live.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lxml import etree

from tests.fake.hosts import Nvidia
from tests.helpers import BASELINES, XSD, environment

SOFT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
HARD = (signal.SIGKILL,)
_LABEL = b"INFERENCE_HARNESS_RUN_DIRECTORY="
_ENDS = 120.0
"""Seconds after which a run that was killed counts as hung."""
_EARLY = 0.6
"""Seconds in which a signal may find an interpreter that has not come to a line of ours yet."""


@dataclass(frozen=True)
class Kind:
    """What is killed.

    Attributes:
        name: Of the kind.
        argv: Program and arguments of a run whose run directories are below a folder.
        seconds: How long such a run takes if nobody kills it; measured by :func:`timed`.
        env: Its environment on top of ours, given the folder.
        containers: Whether its servers are in containers.
    """

    name: str
    argv: Callable[[Path], Sequence[str]]
    env: Callable[[Path], Mapping[str, str]] = lambda _folder: {}
    containers: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes:
        number: Of the kill; its folder is named for it.
        kind: What is killed.
        signal: The signal.
        group: Sent to the process group, as a terminal does, and not to the process alone.
        after: Seconds after the start.
        again: Seconds until the same signal is sent again; None for once.
        paused: Stop the process first, and let it go on half a second after the signal.
    """

    number: int
    kind: Kind
    signal: signal.Signals
    group: bool
    after: float
    again: float | None
    paused: bool

    def __str__(self) -> str:
        how = [self.kind.name, self.signal.name, "group" if self.group else "process", f"after {self.after:.2f} s"]
        how += [f"again after {self.again:.2f} s"] if self.again is not None else []
        return f"kill {self.number}: {', '.join(how)}{', paused' if self.paused else ''}"


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        kill: Which.
        code: Exit status of the run; None if it hung.
        left: What was left when it had ended, before the clean-up.
        faults: What must not be, one line each.
    """

    kill: Kill
    code: int | None = None
    left: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def timed(kind: Kind, folder: Path) -> Kind:
    """The same kind with how long it takes here today: one run that nobody kills, and that has to be green."""
    runs = folder / f"calm {kind.name}"
    runs.mkdir(parents=True)
    began = time.monotonic()
    env = environment(kind.env(runs))
    done = subprocess.run(kind.argv(runs), env=env, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return replace(kind, seconds=time.monotonic() - began)


def plan(seed: int, kinds: Mapping[Kind, int], workers: int = 1) -> list[Kill]:
    """The kills of a storm, ``kinds`` with how many of each, in random order.

    ``workers`` at a time take longer than one alone, and are to be killed at the end of their runs too.
    """
    longer = max(1.0, workers / (os.cpu_count() or 1))
    chance = random.Random(seed)
    wanted = [kind for kind, count in kinds.items() for _ in range(count)]
    chance.shuffle(wanted)
    return [
        Kill(
            number,
            kind,
            chance.choice((*SOFT, *HARD)),
            group=chance.random() < 0.3,
            after=chance.uniform(0.0, kind.seconds * longer),
            again=chance.uniform(0.0, 1.0) if chance.random() < 0.3 else None,
            paused=chance.random() < 0.15,
        )
        for number, kind in enumerate(wanted)
    ]


def storm(kills: Sequence[Kill], folder: Path, finished: Path, workers: int) -> Iterator[Outcome]:
    """Kill them all, ``workers`` at a time.

    Args:
        kills: Which.
        folder: For everything.
        finished: A run directory of a run that ended; a copy of it lies beside each run and names a stranger.
        workers: How many at once.
    """
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda kill: one(kill, folder / f"{kill.number:04d}", finished), kills)


def one(kill: Kill, folder: Path, finished: Path) -> Outcome:
    """One kill. Its folder is removed if nothing was wrong."""
    outcome = Outcome(kill)
    runs = folder / "runs"
    runs.mkdir(parents=True)
    stranger = subprocess.Popen(["sleep", "600"], process_group=0)
    try:
        copy_that_names(stranger.pid, finished, runs / "copied")
        strangers = [*_strangers(stranger.pid)]
        output = _killed(kill, runs, outcome)
        outcome.left = [*processes_of(runs), *containers_of(kill, runs)]
        # The group's other members may still be on their way: a soft kill of them is their harness's to finish.
        if outcome.left and kill.signal in SOFT:
            outcome.faults.append(f"left by {kill.signal.name}: {'; '.join(outcome.left)}")
        _reaped(kill, runs, outcome)
        outcome.faults += [f"left after reap: {each}" for each in [*processes_of(runs), *containers_of(kill, runs)]]
        outcome.faults += [f"stranger {each} is gone" for each in strangers if not _lives(each)]
        outcome.faults += list(broken_files(runs))
        if "Traceback" in output:
            outcome.faults.append(f"a traceback: {output[output.index('Traceback') :][-600:]}")
        if outcome.faults:
            (folder / "output.txt").write_text(output)
    finally:
        stranger.kill()
        stranger.wait()
    if not outcome.faults:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _killed(kill: Kill, runs: Path, outcome: Outcome) -> str:
    """Start the run, kill it, wait for its end, and return what it printed."""
    log = runs.parent / "printed.txt"
    with log.open("wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            kill.kind.argv(runs / "now"),
            env=environment(kill.kind.env(runs)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=runs.parent,
            process_group=0,
        )
    send = os.killpg if kill.group else os.kill
    with suppress(subprocess.TimeoutExpired):
        process.wait(kill.after)
    early = process.poll() is None and time.monotonic() - began < _EARLY
    if process.poll() is None:
        if kill.paused:
            send(process.pid, signal.SIGSTOP)
        send(process.pid, kill.signal)
        if kill.again is not None:
            time.sleep(kill.again)
            _quietly(send, process.pid, kill.signal)
        if kill.paused:
            time.sleep(0.5)
            _quietly(send, process.pid, signal.SIGCONT)
        killed = True
    else:
        killed = False
    try:
        outcome.code = process.wait(_ENDS)
    except subprocess.TimeoutExpired:
        outcome.faults.append(f"still running {_ENDS:g} s after it was killed")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if outcome.code is not None and outcome.code not in _right_codes(kill, killed=killed, early=early):
        outcome.faults.append(f"exit status {outcome.code}")
    return log.read_text(errors="replace")


def _right_codes(kill: Kill, *, killed: bool, early: bool) -> set[int]:
    if not killed:
        return {0}
    by_itself = {-kill.signal}
    if kill.kind.name == "nox":
        by_itself |= {128 + kill.signal}  # the shell script before it became Nox
    if kill.signal is signal.SIGKILL:
        return by_itself
    # It may have been over already but for its exit; and no program is itself before its first line.
    return {130, 0} | (by_itself if early else set())


def _quietly(send: Callable[[int, int], None], pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        send(pid, number)


def _reaped(kill: Kill, runs: Path, outcome: Outcome) -> None:
    argv = [sys.executable, "-m", "harness", "reap", "--runs", str(runs), "--end-running"]
    try:
        done = subprocess.run(
            argv,
            env=environment(kill.kind.env(runs)),
            capture_output=True,
            text=True,
            check=False,
            timeout=_ENDS,
            cwd=runs.parent,
        )
    except subprocess.TimeoutExpired:
        outcome.faults.append("reap hung")
        return
    if done.returncode != 0 or "Traceback" in done.stderr:
        outcome.faults.append(f"reap ended with {done.returncode}: {done.stdout}{done.stderr}")


def copy_that_names(pid: int, finished: Path, target: Path) -> None:
    """A copy of a run directory, as from another machine or before a reboot: its servers have a stranger's number."""
    shutil.copytree(finished, target, symlinks=True)
    for name in ("servers.json", "case.json", "ready.json"):
        path = target / name
        if path.exists():
            path.write_text(json.dumps(_renumbered(json.loads(path.read_text()), pid)))


def _renumbered(document: Any, pid: int) -> Any:
    if isinstance(document, list):
        return [_renumbered(each, pid) for each in document]
    if not isinstance(document, dict):
        return document
    changed = {name: _renumbered(value, pid) for name, value in document.items() if name != "stopped"}
    return changed | ({"pid": pid} if "pid" in changed else {}) | ({"stopped": None} if "stopped" in document else {})


def _strangers(pid: int) -> Iterator[tuple[int, str]]:
    yield pid, _started(pid)


def _lives(stranger: tuple[int, str]) -> bool:
    with suppress(OSError):
        return _started(stranger[0]) == stranger[1] and _state(stranger[0]) not in "ZX"
    return False


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def _started(pid: int) -> str:
    return _fields(pid)[19]


def _state(pid: int) -> str:
    return _fields(pid)[0]


def processes_of(runs: Path) -> list[str]:
    """Living processes that have to do with runs below a folder: by label, working directory or command line."""
    found = []
    mark = os.fsencode(runs)
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            place = Path(entry.path)
            label = b"\0" + (place / "environ").read_bytes()
            line = (place / "cmdline").read_bytes()
            where = os.fsencode((place / "cwd").readlink())
            ours = b"\0" + _LABEL + mark in label or mark in line or where.startswith(mark)
            if ours and _state(int(entry.name)) not in "ZX":
                words = line.replace(b"\0", b" ").decode(errors="replace")
                found.append(f"{entry.name} {words[:120]}")
    return found


def containers_of(kill: Kill, runs: Path) -> list[str]:
    """Containers of runs below a folder."""
    if not kill.kind.containers:
        return []
    label = "org.inference-harness.run-directory"
    argv = ["docker", "ps", "--all", "--no-trunc", "--format", f'{{{{.ID}}}} {{{{.Label "{label}"}}}}']
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if f" {runs}" in line]


def broken_files(runs: Path) -> Iterator[str]:
    """What is half, invalid, or a leftover of writing below a folder of runs."""
    for path in sorted(runs.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(runs)
        if path.name.startswith("."):
            yield f"{name}: a temporary file"
        elif path.suffix == ".json":
            try:
                json.loads(path.read_bytes(), parse_constant=_no_constant)
            except ValueError as error:
                yield f"{name}: {error}"
        elif path.suffix == ".xml":
            try:
                XSD.assertValid(etree.parse(path))
            except (etree.XMLSyntaxError, etree.DocumentInvalid) as error:
                yield f"{name}: {error}"
        elif path.suffix == ".jsonl":
            for line in path.read_bytes().splitlines(keepends=True):
                # The last may be cut off: it is what was being written.
                if line.endswith(b"\n") and not _is_json(line):
                    yield f"{name}: {line[:80]!r}"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def held_leases(host: Nvidia) -> list[str]:
    """Files of leases that somebody still holds."""
    found = []
    for path in Path(host.env["INFERENCE_HARNESS_LEASES"]).rglob("*"):
        if path.is_file():
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(path.name)
    return found


def table(outcomes: Sequence[Outcome]) -> str:
    """The storm as a Markdown table: a row for each kind and signal."""
    rows = ["| killed | signal | kills | exit status | left something | after `reap` | faults |", "| --- " * 7 + "|"]
    for kind in sorted({each.kill.kind.name for each in outcomes}):
        for number in (*SOFT, *HARD):
            of = [each for each in outcomes if each.kill.kind.name == kind and each.kill.signal is number]
            if not of:
                continue
            codes = Counter(str(each.code) for each in of)
            said = ", ".join(f"{count} x {code}" for code, count in codes.most_common())
            after = sum(fault.startswith("left after") for each in of for fault in each.faults)
            faults = sum(len(each.faults) for each in of)
            left = sum(bool(each.left) for each in of)
            rows.append(f"| {kind} | {number.name} | {len(of)} | {said} | {left} | {after} | {faults} |")
    return "\n".join(rows)


def scripted(cases: Path, python: Path) -> Kind:
    """A point on scripted engines, with prefill, decode and router."""

    def argv(runs: Path) -> Sequence[str]:
        return [*_run(runs), "--cases", str(cases), "--engine-python", str(python)]

    return Kind("scripted engine", argv)


def on_a_device(host: Nvidia, cases: Path, python: Path) -> Kind:
    """One point on one of the scripted GPUs of a host."""

    def argv(runs: Path) -> Sequence[str]:
        return [*_run(runs), "--cases", str(cases), "--engine-python", str(python), "--platform", "cuda"]

    return Kind("device", argv, lambda _runs: host.env)


def through_nox(checkout: Path, cases: Path, python: Path) -> Kind:
    """The same through Nox, from the moment that its script starts."""

    def argv(runs: Path) -> Sequence[str]:
        rest = ["--runs", str(runs), "--cases", str(cases), "--engine-python", str(python)]
        return [str(checkout / "nox"), "-s", "harness", "--", "run", *rest]

    return Kind("nox", argv)


def on_the_real_engine(options: Sequence[str], name: str, env: Mapping[str, str]) -> Kind:
    """One case on vLLM."""

    def argv(runs: Path) -> Sequence[str]:
        return [*_run(runs), "eagle3/known_answer", "--platform", "cpu", "--cases", str(BASELINES), *options]

    return Kind(name, argv, lambda _runs: env, containers="docker" in options)


def _run(runs: Path) -> list[str]:
    return [sys.executable, "-m", "harness", "run", "--runs", str(runs)]
