"""What is removed after a killed harness, and what is not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from harness.mechanism.owners import Owner
from tests.fake.conftest import Prepared
from tests.helpers import REPOSITORY, all_live, begin, command, end, environment, harness, left_in, started_in


def test_reap_removes_what_a_killed_harness_left_and_nothing_else(
    prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, arguments = prepared
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
        assert "nothing of ours is left" in harness("reap", "--runs", folder / "runs").stdout
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
def test_a_harness_in_another_pid_namespace_is_not_taken_for_dead(prepared: Prepared, seen: bool) -> None:
    """As in a container: its pid is another one here, and its files need not be here at all."""
    folder, arguments = prepared
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
        (line,) = [line for line in done.stdout.splitlines() if str(folder) in line]
        assert line.startswith("left alone: ")
        assert "cannot be seen from here to be dead" in line
        assert all_live(there)
        (inner,) = outer.children()
        inner.send_signal(signal.SIGINT)
        assert outer.wait(timeout=30) == 130
        assert left_in(folder) == []
        assert "nothing of ours is left" in harness("reap", "--runs", folder / "runs").stdout
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
