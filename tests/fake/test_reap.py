"""What is removed after a killed harness, and what is not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.cases.load import load
from harness.host.identity import Identity
from harness.host.ownership import Owner
from harness.plan.points import Planned, everything
from harness.run import prepare
from harness.run import reap as reaping
from tests.fake.conftest import DISAGG, Prepared
from tests.helpers import (
    BASELINES,
    NO_ENGINE,
    REPOSITORY,
    all_live,
    begin,
    command,
    end,
    environment,
    harness,
    left_in,
    patched,
    started_in,
    validated,
    wait_for,
)


def test_reap_removes_what_a_killed_harness_left_and_nothing_else(
    lasting: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, arguments = lasting
    elsewhere = tmp_path_factory.mktemp("alive")
    alive = begin(elsewhere, *arguments)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)  # vllm.entrypoints"])
    try:
        victim = begin(folder, *arguments)
        orphans, spared = started_in(folder), started_in(elsewhere)
        victim.kill()
        victim.communicate()
        assert all_live(orphans)

        done = harness("reap", "--runs", folder / "runs")
        assert done.returncode == 0, done.stderr
        assert "removed: " in done.stdout
        assert left_in(folder) == []
        assert all_live(spared)
        assert bystander.poll() is None
        assert said(harness("reap", "--runs", folder / "runs"), folder) == []
    finally:
        bystander.kill()
        bystander.wait()
        end(alive, signal.SIGTERM, elsewhere)


def test_reap_finds_servers_whose_run_directory_is_gone(prepared: Prepared) -> None:
    folder, arguments = prepared
    victim = begin(folder, *arguments)
    started_in(folder)
    victim.kill()
    victim.communicate()
    shutil.rmtree(folder / "runs")
    assert "removed: " in harness("reap", "--runs", folder / "nothing").stdout


@pytest.mark.parametrize("seen", [True, False], ids=["run directory seen", "run directory not seen"])
def test_a_harness_in_another_pid_namespace_is_not_taken_for_dead(lasting: Prepared, seen: bool) -> None:
    """As in a container: its pid is another one here, and its files need not be here at all."""
    folder, arguments = lasting
    apart = ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces cannot be made here")
    (folder / "runs").mkdir()
    hide = "" if seen else f"mount -t tmpfs none '{folder}/runs' && "
    script = ["sh", "-c", f'{hide}exec "$@"', "sh", *command("run", "--runs", folder / "runs", *arguments)]
    outer = psutil.Popen([*apart, *script], env=environment(), cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    try:
        there = started_in(folder)
        done = harness("reap", "--runs", folder / "runs")
        assert done.returncode == 0, done.stderr
        (line,) = said(done, folder)
        assert line.startswith("left alone: ")
        assert "cannot be seen from here to be dead" in line
        assert all_live(there)
        (inner,) = outer.children()
        inner.send_signal(signal.SIGINT)
        assert outer.wait(timeout=30) == 130
        assert left_in(folder) == []
        assert said(harness("reap", "--runs", folder / "runs"), folder) == []
    finally:
        if outer.is_running():
            outer.kill()
            outer.wait()


def test_an_owner_is_known_by_pid_start_boot_and_namespace() -> None:
    me = Owner.me()
    assert Owner.parse(me.text) == me
    assert me.lives
    assert not me.unseen
    assert not replace(me, ticks=me.ticks - 1).lives, "another process had the pid"
    for elsewhere in (replace(me, namespace="pid:[1]"), replace(me, boot="another"), replace(me, ticks=0)):
        assert elsewhere.unseen
        assert not elsewhere.lives
    assert Owner.parse("") is None
    former = json.dumps({"pid": me.pid, "created": psutil.Process().create_time(), "namespace": me.namespace})
    for text in ("[]", '{"pid": 1}', "by another version", former, "[" * 100_000):
        unknown = Owner.parse(text)
        assert unknown is not None
        assert unknown.unseen, "and so left alone"
        assert not unknown.lives


def test_a_harness_that_runs_is_said_and_with_the_option_it_ends_with_all_it_started(
    lasting: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As in the clean-up step of a cancelled job: the job's shell is gone, and the harness is not."""
    folder, arguments = lasting
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    running, other = begin(folder, *arguments), begin(elsewhere, *arguments)
    try:
        mine, others = started_in(folder), started_in(elsewhere)
        running.send_signal(signal.SIGSTOP)
        (rundir,) = (each.parent for each in folder.glob("runs/*/case.json"))
        done = harness("reap", "--runs", folder / "runs")
        assert done.returncode == 0, done.stderr
        line = f"left alone: {rundir}: its harness (pid {running.pid}) is running; `harness reap --end-running` ends it"
        assert said(done, folder) == [line]
        assert all_live(mine)

        done = harness("reap", "--runs", folder / "runs", "--end-running")
        assert done.returncode == 0, done.stderr
        what = f"harness (pid {running.pid}) of {rundir}, which was running and has stopped what it started"
        assert said(done, folder) == [f"removed: {what}"]
        assert end(running, None, folder).code == 130
        assert left_in(folder) == []
        validated(rundir / "junit.xml")
        assert all_live(others)
        assert said(harness("reap", "--runs", folder / "runs", "--end-running"), folder) == []
    finally:
        end(running, signal.SIGKILL, folder)
        end(other, signal.SIGTERM, elsewhere)


_DEAF = """
import signal
from harness.host import processes, signals
signals._handle = lambda *_: None
ended = processes.exit_status
def started_more(started):
    processes.run(["sleep", "600"])
    return ended(started)
processes.exit_status = started_more
from harness.__main__ import main
main()
"""


def test_a_harness_that_does_not_end_is_ended_with_all_it_started(
    lasting: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, arguments = lasting
    program = folder / "harness"
    program.write_text(_DEAF)
    argv = [sys.executable, program, "run", "--runs", folder / "runs", *arguments]
    running = psutil.Popen(argv, env=environment(), cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    try:
        servers = started_in(folder)
        (asleep,) = wait_for(lambda: [each for each in running.children() if each.name() == "sleep"])
        monkeypatch.setattr(reaping, "_OWNER_WAIT", 1.0)
        monkeypatch.setenv("DOCKER_HOST", NO_ENGINE["DOCKER_HOST"])
        found = [each for each in reaping.reap(folder / "runs", end_running=True) if str(folder) in each.what]
        assert {each.fate for each in found} == {reaping.Fate.REMOVED}
        assert "which did not end within 1 s" in found[0].what
        assert running.wait(timeout=10) == -signal.SIGKILL
        assert not any(all_live([each]) for each in (asleep, *servers))
    finally:
        with suppress(psutil.NoSuchProcess):
            running.kill()


def test_who_owns_a_run_and_is_no_harness_is_not_ended(tmp_path: Path) -> None:
    """Somebody's program that uses the harness as a library, as this test does."""
    rundir = prepare.create(planned(), tmp_path / "runs" / "case")
    done = harness("reap", "--runs", tmp_path / "runs", "--end-running")
    assert said(done, tmp_path) == [f"left alone: {rundir.path}: its harness (pid {os.getpid()}) is running"]


def planned() -> Planned:
    return next(each for each in everything(load(BASELINES)) if not each.skip)


def said(done: subprocess.CompletedProcess[str], folder: Path) -> list[str]:
    """The lines about a folder: others run on this machine too."""
    return [line for line in done.stdout.splitlines() if str(folder) in line]


def junk(kind: str, path: Path, good: bytes) -> None:
    """Something else in a file's place."""
    contents = {
        "half": good[: len(good) // 2],
        "empty": b"",
        "other version": b'{"schema_version": 99, "people": []}',
        "junk": b"\x00\x1b[31mjunk",
        "deep": b"[" * 100_000,
        "NaN": b'{"run_id": NaN, "owner": {"pid": Infinity}, "servers": [{"process": {"pid": NaN}}]}',
        "negative": b'{"run_id": "a", "owner": {"pid": -1, "ticks": 1}, "servers": [{"process": {"pid": -1}}]}',
        "bad UTF-8": b'{"run_id": "\xff\xfe"}',
    }
    path.unlink()
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"dangling": "nowhere", "loop": path.name, "device": "/dev/zero"}[kind])


KINDS = (
    "half", "empty", "other version", "junk", "deep", "NaN", "negative", "bad UTF-8", "folder", "pipe", "dangling",
    "loop", "device",
)  # fmt: skip


_STOP_EACH = """
import contextlib, io, sys
from harness.__main__ import main
for folder in sys.argv[1:]:
    sys.argv[1:] = ["stop", folder]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            main()
    except SystemExit as end:
        print(end.code, said.getvalue().strip(), file=sys.stderr)
"""


def test_what_cannot_be_read_is_said_and_keeps_nothing_from_the_rest(lasting: Prepared) -> None:
    folder, arguments = lasting
    runs = folder / "runs"
    victim = begin(folder, *arguments)
    started_in(folder)
    end(victim, signal.SIGKILL, folder)
    (rundir,) = (each.parent for each in runs.glob("*/case.json"))
    broken = []
    for kind in KINDS:
        for name in ("case.json", "servers.json"):
            copy = runs / f"{kind} {name}"
            shutil.copytree(rundir, copy)
            document = json.loads((copy / "case.json").read_text())
            (copy / "case.json").write_text(json.dumps(document | {"folder": str(copy)}))
            junk(kind, copy / name, (copy / name).read_bytes())
            broken.append(copy / name)
    done = harness("reap", "--runs", runs)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("removed: ") and str(rundir) in line]
    assert left_in(folder) == []
    lines = [line for line in done.stdout.splitlines() if line.startswith("cannot be read: ")]
    assert sorted(str(each) for each in broken) == sorted(line.split(": ")[1] for line in lines)
    stopped = patched(_STOP_EACH, *(each.parent for each in broken))
    assert len(stopped.stderr.splitlines()) == len(broken)
    for each, line in zip(broken, stopped.stderr.splitlines(), strict=True):
        assert line.startswith(("2 harness: ", "4 harness: "))
        assert str(each) in line
    for each in broken:
        shutil.rmtree(each.parent)


def test_a_run_whose_record_of_servers_cannot_be_read_is_stopped_by_its_label(lasting: Prepared) -> None:
    folder, arguments = lasting
    rundir = folder / "run"
    assert harness("serve", DISAGG, "--run-dir", rundir, *arguments).returncode == 0
    assert len(started_in(folder)) == 3
    (rundir / "servers.json").write_text("{")
    done = harness("stop", rundir)
    assert done.returncode == 4
    assert done.stderr.startswith("harness: servers were stopped by their label alone: ")
    assert left_in(folder) == []
    (rundir / "servers.json").unlink()  # for the fixture, which reads it


_KILLED_WHILE_WRITING = """
import os, signal, sys
number, name = int(sys.argv.pop()), sys.argv.pop()
from harness.host import files
write_all = files.write_all
def write_and_be_killed(contents):
    if any(path.name == name for path in contents):
        files.os.fsync = lambda _: os.kill(os.getpid(), number)
    write_all(contents)
files.write_all = write_and_be_killed
from harness.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["servers.json", "before-decode.prom", "junit.xml"])
def test_a_file_that_a_kill_left_half_is_removed_and_no_other(prepared: Prepared, name: str) -> None:
    folder, arguments = prepared
    runs = folder / "runs"
    argv: list[str | Path] = ["run", "--runs", runs, *arguments, name, str(int(signal.SIGKILL))]
    assert patched(_KILLED_WHILE_WRITING, *argv).returncode == -signal.SIGKILL
    (half,) = runs.rglob(".*")
    others = [half.with_name(".junit.xml.abcdefgh"), half.with_name(f".harness.{Identity.me().as_name}.abcd.part")]
    elsewhere = replace(Identity.me(), boot="1d3f0b7e-0000-4000-8000-000000000000")
    others.append(half.with_name(f".harness.{elsewhere.as_name}.abcd.part"))
    for each in others:
        each.touch()
    done = harness("reap", "--runs", runs)
    assert done.returncode == 0, done.stderr
    assert f"removed: {half}" in done.stdout
    assert f"left alone: {others[2]}: who was writing it cannot be seen from here" in done.stdout
    assert sorted(runs.rglob(".*")) == sorted(others)
    assert left_in(folder) == []
