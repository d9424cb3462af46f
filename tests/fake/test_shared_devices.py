"""Small servers on one accelerator: the pair of a case, and points of several runs, each with its own budget."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Outcome
from harness.run.rundir import RunDir, RunningServer, Servers
from tests.fake.conftest import DISAGG, ONE_POINT, QUICK, SMALL
from tests.fake.hosts import Nvidia
from tests.fake_engine.install import install
from tests.helpers import begin, edited, end, harness, left_in, recorded, run, wait_for

GIB = 1 << 30
PATIENCE = 120.0
SHARED: dict[str, Any] = {
    "platforms": ["cuda"],
    "device_share_gib": 6,
    "serve/flags/kv-cache-memory-bytes": GIB,
    "timeouts/start": 100.0,
}


def arguments(folder: Path, case: str, script: dict[str, Any], **changes: Any) -> list[str | Path]:
    cases = edited(folder / "cases", case, SMALL[case] | QUICK | SHARED | changes)
    return ["--cases", cases, "--engine-python", install(folder / "engine", {"server": script})]


def servers_in(folder: Path) -> list[RunningServer]:
    """Of the one run below a folder, once they were started."""

    def served() -> list[RunningServer]:
        there = [RunDir(path.parent).read("servers", Servers) for path in folder.glob("runs/*/servers.json")]
        return [each for found in there if found for each in found.servers]

    return list(wait_for(served, PATIENCE))


def told(server: RunningServer) -> tuple[str, str, str]:
    """Its device, and the flags that bound its memory."""
    argv = server.server.argv
    flags = [argv[argv.index(name) + 1] for name in ("--gpu-memory-utilization", "--kv-cache-memory-bytes")]
    return server.server.env["CUDA_VISIBLE_DEVICES"], flags[0], flags[1]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Nvidia]:
    """With one accelerator."""
    yield Nvidia(tmp_path / "host", 1)
    assert left_in(tmp_path) == []


def test_a_pair_runs_on_a_host_with_one_accelerator(tmp_path: Path, host: Nvidia) -> None:
    done = run(tmp_path, *arguments(tmp_path, DISAGG, {}), env=host.env)
    assert done.code == 0, done.output
    prefill, decode, router = servers_in(tmp_path)
    assert told(prefill) == told(decode) == ("0", "0.0427", str(GIB))
    assert "CUDA_VISIBLE_DEVICES" not in router.server.env
    assert harness("devices", env=host.env).stdout.splitlines()[0] == "cuda 0 (NVIDIA H200, 140 GiB): free"


def test_a_pair_has_two_accelerators_where_there_are_two(tmp_path: Path, host: Nvidia) -> None:
    host.gpus.append({"uuid": "GPU-1aaa", "name": "NVIDIA H200"})
    host.write()
    done = run(tmp_path, *arguments(tmp_path, DISAGG, {}), env=host.env)
    assert done.code == 0, done.output
    assert [told(each)[0] for each in servers_in(tmp_path)[:2]] == ["0", "1"]


def test_an_accelerator_without_room_for_the_pair_says_so(tmp_path: Path, host: Nvidia) -> None:
    host.gpus[0]["total"] = 12 * GIB
    host.write()
    done = run(tmp_path, *arguments(tmp_path, DISAGG, {}), env=host.env)
    assert done.code == 4
    assert done.errors == {"prepare": "device 0 has 12 GiB, which is too little for 2 servers with 6 GiB each"}


def test_points_of_one_run_are_on_one_accelerator_at_a_time(tmp_path: Path, host: Nvidia) -> None:
    points: dict[str, Any] = {"a": {}, "b": {}}
    done = run(
        tmp_path, "--jobs", "2", *arguments(tmp_path, ONE_POINT, {"start_after": 8.0}, **{"matrix/point": points}),
        env=host.env,
    )  # fmt: skip
    assert done.code == 0, done.output
    (one_began, one_ended), (other_began, other_ended) = (
        (events[0].time, events[-1].time)
        for path in sorted(done.runs.glob("*/case.json"))
        for events in [list(RunDir(path.parent).events())]
    )
    assert one_began < other_ended
    assert other_began < one_ended
    assert {told(each) for each in servers_in(tmp_path)} == {("0", "0.0427", str(GIB))}


def test_one_that_is_killed_harms_no_other_on_its_accelerator(tmp_path: Path, host: Nvidia) -> None:
    """Two runs share an accelerator, a third waits for all of it, and a fourth does not overtake that one."""
    folders = [tmp_path / name for name in ("killed", "unharmed", "whole", "late")]
    killed, unharmed, whole, late = folders
    endless = begin(
        killed, *arguments(killed, ONE_POINT, {"start_after": 300.0}, **{"timeouts/start": 400.0}), env=host.env
    )
    (left,) = servers_in(killed)
    other = begin(unharmed, *arguments(unharmed, ONE_POINT, {"start_after": 15.0}), env=host.env)
    (server,) = servers_in(unharmed)
    assert left.process
    assert server.process
    host.gpus[0] |= {
        "processes": [[each.process.pid, 3 * GIB] for each in (left, server) if each.process],
        "used": 7 * GIB,
    }
    host.write()
    wants_all = arguments(whole, ONE_POINT, {}, device_share_gib=0)
    third = begin(whole, *wants_all, "--wait-for-devices", "100", env=host.env)
    wait_for(lambda: recorded(whole, "0: shared by mtp/known_answer_k1 in "), PATIENCE)
    said = harness("devices", env=host.env).stdout
    assert "cuda 0 (NVIDIA H200, 140 GiB): shared, 12 of 139 GiB: mtp/known_answer_k1 in " in said
    assert f"; kept for mtp/known_answer_k1 in {whole}" in said
    refused = run(late, *arguments(late, ONE_POINT, {}), env=host.env)
    assert refused.code == 4
    assert f"0: kept for mtp/known_answer_k1 in {whole}" in refused.problems["prepare"]

    end(endless, signal.SIGKILL, killed)
    wait_for(lambda: not server.process.lives, PATIENCE)
    assert left.process.lives
    host.gpus[0] |= {"processes": [[left.process.pid, 3 * GIB]], "used": 4 * GIB}  # the driver sees it still
    host.write()
    done = end(other, None, unharmed, PATIENCE)
    assert done.code == 0, done.output
    assert {each.name: each.outcome for each in done.result.checks}["teardown"] is Outcome.PASS

    wait_for(lambda: not left.process.lives, PATIENCE)  # whose turn it is removes what was left
    host.gpus[0] |= {"processes": [], "used": 0}
    host.write()
    done = end(third, None, whole, PATIENCE)
    assert done.code == 0, done.output
    assert "left by a run that was killed, removed: " in done.output


def test_what_stays_of_one_that_shares_is_found_by_its_process(tmp_path: Path, host: Nvidia) -> None:
    """A process that nobody knows came while it ran, and its memory is less than its neighbours may have."""
    process = begin(tmp_path, *arguments(tmp_path, ONE_POINT, {"start_after": 5.0}), env=host.env)
    (server,) = servers_in(tmp_path)
    with subprocess.Popen(["sleep", "300"]) as stranger:
        host.gpus[0] |= {"processes": [[stranger.pid, GIB // 4]], "used": GIB // 4}
        host.write()
        done = end(process, None, tmp_path, PATIENCE)
        stranger.kill()
    assert done.code == 4, done.output
    assert done.errors["teardown"].startswith(f"device 0 is still in use by sleep 300 (pid {stranger.pid}, ")
    assert server.process
    assert not server.process.lives
