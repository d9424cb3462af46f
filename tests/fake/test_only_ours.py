"""Nobody else's process is touched: reused numbers, copied run directories, reboots, other versions, set clocks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.host import processes
from harness.host.identity import Identity
from harness.host.ownership import PROCESS, Label, Ours
from harness.host.stopping import stop
from tests.fake.conftest import DISAGG, Prepared
from tests.helpers import all_live, begin, end, harness, left_in, living_in, patched, started_in, wait_for

Serve = Callable[[], Path]


@pytest.fixture
def kept(prepared: Prepared) -> Iterator[Path]:
    """A run directory whose servers run."""
    folder, arguments = prepared
    rundir = folder / "kept"
    assert harness("serve", DISAGG, "--run-dir", rundir, *arguments).returncode == 0
    yield rundir
    for process in living_in(folder):
        process.kill()
    wait_for(lambda: left_in(folder) == [])


@pytest.fixture
def strangers() -> Iterator[list[psutil.Process]]:
    """Somebody's process group: a leader and a child."""
    argv = ["sh", "-c", "sleep 600 & echo; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, process_group=0) as leader:
        assert leader.stdout is not None
        leader.stdout.readline()
        found = [psutil.Process(leader.pid), *psutil.Process(leader.pid).children()]
        yield found
        for each in found:
            each.kill()


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def end_all(found: list[psutil.Process]) -> None:
    for each in found:
        each.kill()
    psutil.wait_procs(found, timeout=10)


@pytest.mark.parametrize("known", [("pid",), ("pid", "ticks", "boot", "namespace")], ids=["number", "everything"])
def test_who_got_the_number_of_a_server_is_not_touched(
    lasting: Prepared, strangers: list[psutil.Process], known: tuple[str, ...]
) -> None:
    """Neither if it has the number alone, nor if the record says all of it: it does not carry the label."""
    folder, arguments = lasting
    running = begin(folder, *arguments)
    servers = started_in(folder)
    end(running, signal.SIGKILL, folder)
    end_all(servers)
    stranger = vars(Identity.of(strangers[0].pid))

    def theirs(document: dict[str, Any]) -> None:
        for each in document["servers"]:
            each["process"].update({name: stranger[name] for name in known})

    (record,) = folder.glob("runs/*/servers.json")
    rewrite(record, theirs)
    reaped = harness("reap", "--runs", folder / "runs")
    assert reaped.returncode == 0, reaped.stderr
    removed = [line for line in reaped.stdout.splitlines() if line.startswith("removed: ")]
    assert all(line.endswith(".part") for line in removed), "at most a file that the kill left half"
    assert ("it carries no label" in reaped.stdout) == (len(known) > 1)
    stopped = harness("stop", record.parent)
    assert stopped.returncode == (0 if len(known) == 1 else 4), stopped.stderr
    assert all_live(strangers)


def test_a_copy_of_a_run_directory_ends_nothing(kept: Path, tmp_path: Path) -> None:
    servers = started_in(kept)
    copy = tmp_path / "copies" / "copy"
    shutil.copytree(kept, copy)
    for stage in ("stop", "health-wait", "eval"):
        done = harness(stage, copy)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"harness: {copy}: a copy of {kept}, or moved from there")
        assert f"`harness {stage} {kept}`" in done.stderr
    rewrite(copy / "case.json", lambda document: document.update(owner=vars(Identity.of(1))))
    assert str(tmp_path) not in harness("reap", "--runs", copy.parent).stdout
    assert all_live(servers)
    assert harness("stop", kept).returncode == 0
    assert left_in(kept) == []


def test_servers_that_were_kept_are_not_taken_for_left_behind_when_their_directory_moves(kept: Path) -> None:
    servers = started_in(kept)
    moved = kept.rename(kept.with_name("moved"))
    done = harness("reap", "--runs", moved.parent)
    assert done.returncode == 0, done.stderr
    assert str(moved.parent) not in done.stdout
    assert harness("stop", moved).returncode == 2
    assert all_live(servers)
    assert harness("stop", moved.rename(kept)).returncode == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"boot": "1d3f0b7e-0000-4000-8000-000000000000"}, "on another machine, or before this one was started last"),
        ({"namespace": "pid:[1] time:[2]"}, "in another PID namespace"),
        ({"ticks": None, "boot": None, "namespace": None, "created": 0.0}, "a version of the harness that did not"),
    ],
    ids=["reboot", "namespace", "former version"],
)
def test_what_cannot_be_told_from_here_is_one_line(kept: Path, change: dict[str, Any], said: str) -> None:
    servers = started_in(kept)

    def recorded(process: dict[str, Any]) -> dict[str, Any]:
        started = psutil.Process(process["pid"]).create_time()  # what a former version wrote
        changed = process | change | ({"created": started} if "created" in change else {})
        return {name: value for name, value in changed.items() if value is not None}

    def everywhere(document: dict[str, Any]) -> None:
        for each in document["servers"]:
            each["process"] = recorded(each["process"])

    rewrite(kept / "servers.json", everywhere)
    for stage in ("stop", "health-wait"):
        done = harness(stage, kept)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert said in done.stderr
    owner = vars(Identity.of(servers[0].pid))
    rewrite(kept / "case.json", lambda document: document.update(owner=recorded(owner)))
    done = harness("reap", "--runs", kept.parent)
    assert done.returncode == 0, done.stderr
    assert f" of {kept}: its harness " in done.stdout
    assert "cannot be seen from here to be dead" in done.stdout
    assert all_live(servers)


_CLOCK_SET = """
import psutil, psutil._pslinux
boot_time = psutil._pslinux.boot_time
psutil.boot_time = psutil._pslinux.boot_time = lambda: boot_time() + 3600.0
from harness.__main__ import main
main()
"""
"""What /proc/stat says of the boot, and with it every time of creation, moves when somebody sets the clock."""


def test_a_clock_that_was_set_changes_nothing(lasting: Prepared) -> None:
    folder, arguments = lasting
    running = begin(folder, *arguments)
    try:
        servers = started_in(folder)
        done = patched(_CLOCK_SET, "reap", "--runs", folder / "runs")
        assert done.returncode == 0, done.stderr
        assert [line for line in done.stdout.splitlines() if line.startswith("removed: ") and str(folder) in line] == []
        assert all_live(servers)
    finally:
        end(running, signal.SIGTERM, folder)


def test_by_hand_a_clock_that_was_set_changes_nothing(kept: Path) -> None:
    assert patched(_CLOCK_SET, "health-wait", kept).returncode == 0
    done = patched(_CLOCK_SET, "stop", kept)
    assert done.returncode == 0, done.stderr
    assert left_in(kept) == []


LABELLED = [sys.executable, "-c", "import time; time.sleep(600)"]


def server(folder: Path, script: str) -> tuple[processes.Started, Label]:
    """A server that runs a shell script, which says when it is done with it."""
    label, log = Label("a run", str(folder), ""), folder / "log"
    script += "\necho ready\nwait"
    started = processes.start("server", ["sh", "-c", script], env={}, folder=folder, log=log, label=label)
    wait_for(lambda: "ready" in log.read_text())
    return started, label


def test_workers_without_a_label_are_stopped_with_their_server(tmp_path: Path) -> None:
    """In its group, and out of it as long as somebody that is proven to be ours is their parent."""
    started, label = server(tmp_path, "env -i sleep 600 &\nenv -i setsid sleep 600 &")
    run = Ours([started], label)
    found = wait_for(lambda: each if len((each := run.look()).escaped) == 1 and len(each.grouped) == 2 else None)
    stopped = stop([started], [], label, 10.0)
    assert not any(each.lives for each in found.everything)
    assert [name.split()[0] for name in stopped.leaked] == ["sleep"]
    assert stopped.alive == ()


def test_a_server_that_cleared_its_environment_is_stopped_by_who_started_it(tmp_path: Path) -> None:
    label = Label("a run", str(tmp_path), "")
    argv = ["env", "-i", *LABELLED]
    started = processes.start("server", argv, env={}, folder=tmp_path, log=tmp_path / "log", label=label)
    wait_for(lambda: psutil.Process(started.pid).environ() == {})
    assert stop([started], [], label, 10.0).alive == ()
    assert not started.lives


def test_an_ended_server_keeps_its_number_until_its_group_is_stopped(tmp_path: Path) -> None:
    started, label = server(tmp_path, "env -i sleep 600 &")
    child = wait_for(lambda: psutil.Process(started.pid).children())[0]
    os.kill(started.pid, signal.SIGKILL)
    assert wait_for(lambda: processes.exit_status(started)) == "killed by SIGKILL"
    assert psutil.Process(started.pid).status() == psutil.STATUS_ZOMBIE
    assert stop([started], [], label, 10.0).alive == ()
    assert not all_live([child])
    assert not psutil.pid_exists(started.pid)


def test_the_label_of_another_place_is_another_run(tmp_path: Path) -> None:
    mine, others = Label("a run", str(tmp_path), ""), Label("a run", str(tmp_path / "elsewhere"), "")
    with subprocess.Popen(LABELLED, env={**os.environ, **others.under(PROCESS)}, process_group=0) as process:
        started = processes.Started(**vars(Identity.of(process.pid)), name="server")
        try:
            wait_for(lambda: psutil.Process(process.pid).environ().get(PROCESS.folder))
            assert Ours([], others).look().everything
            assert stop([started], [], mine, 10.0).alive == ()
            assert process.poll() is None
        finally:
            process.kill()
