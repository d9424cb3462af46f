"""Leases: two runs on one host, strangers on a device, and what is left on one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Device
from harness.devices import leases, lock_files, tickets
from harness.run.rundir import Servers
from tests.fake.conftest import ONE_POINT, QUICK, SMALL
from tests.fake.hosts import Nvidia
from tests.fake_engine.install import install
from tests.helpers import Run, begin, edited, end, harness, left_in, recorded, run, serves, wait_for

GPU: dict[str, Any] = SMALL[ONE_POINT] | QUICK | {"platforms": ["cuda"]}


def arguments(folder: Path, faults: dict[str, dict[str, Any]] | None = None, **changes: Any) -> list[str | Path]:
    cases = edited(folder / "cases", ONE_POINT, GPU | changes)
    return ["--cases", cases, "--engine-python", install(folder / "engine", faults or {})]


def tensor_parallel(size: int) -> dict[str, Any]:
    return {"serve/tensor_parallel_size": size}


def visible_to(done: Run) -> str:
    servers = Servers.model_validate_json((done.directory / "servers.json").read_bytes()).servers
    return servers[0].server.env["CUDA_VISIBLE_DEVICES"]


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else."""
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        assert process.poll() is None, "nobody else's process may be touched"
        process.kill()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Nvidia, subprocess.Popen[str]]]:
    """A host with two devices, and a run that holds the first of them and takes its time."""
    host = Nvidia(tmp_path / "host", 2)
    slow = {"server": {"start_after": 300}}
    process = begin(tmp_path / "first", *arguments(tmp_path / "first", slow, **{"timeouts/start": 300.0}), env=host.env)
    wait_for(lambda: any(map(serves, (tmp_path / "first").glob("runs/*"))))
    yield host, process
    if process.poll() is None:
        end(process, signal.SIGTERM, tmp_path / "first")
    assert left_in(tmp_path) == []


def test_a_second_run_takes_the_next_free_device(tmp_path: Path, running: tuple[Nvidia, subprocess.Popen[str]]) -> None:
    done = run(tmp_path, *arguments(tmp_path), env=running[0].env)
    assert done.code == 0, done.output
    assert visible_to(done) == "1"


def test_a_second_run_is_refused_with_the_name_of_the_holder(
    tmp_path: Path, running: tuple[Nvidia, subprocess.Popen[str]]
) -> None:
    host, first = running
    done = run(tmp_path, *arguments(tmp_path), env=host.env | {"CUDA_VISIBLE_DEVICES": "0"})
    assert done.code == 4
    message = done.problems["prepare"]
    assert "needs 1 cuda devices: 0 of 1 free; 0: leased by mtp/known_answer_k1 in " in message
    assert f"(pid {first.pid}, " in message
    assert not (done.directory / "servers.json").exists()


def test_a_second_run_waits_if_it_is_told_to(tmp_path: Path, running: tuple[Nvidia, subprocess.Popen[str]]) -> None:
    host, first = running
    second = begin(
        tmp_path,
        *arguments(tmp_path),
        "--wait-for-devices",
        "60",
        env=host.env | {"CUDA_VISIBLE_DEVICES": "0"},
    )
    wait_for(lambda: recorded(tmp_path, "waiting for 1 devices"))
    end(first, signal.SIGTERM, tmp_path / "first")
    done = end(second, None, tmp_path)
    assert done.code == 0, done.output


def test_a_killed_run_holds_no_lock_and_its_servers_are_named(
    tmp_path: Path, running: tuple[Nvidia, subprocess.Popen[str]]
) -> None:
    host, first = running
    end(first, signal.SIGKILL, tmp_path / "first")
    only = host.env | {"CUDA_VISIBLE_DEVICES": "0"}
    done = run(tmp_path / "second", *arguments(tmp_path / "second"), env=only)
    assert done.code == 4
    (folder,) = (tmp_path / "first").glob("runs/*/case.json")
    assert f"servers of the run in {folder.parent} are still there: `harness reap" in done.problems["prepare"]
    assert harness("reap", "--runs", folder.parent).returncode == 0
    done = run(tmp_path / "third", *arguments(tmp_path / "third"), env=only)
    assert done.code == 0, done.output


def test_a_waiting_run_can_be_interrupted(tmp_path: Path, running: tuple[Nvidia, subprocess.Popen[str]]) -> None:
    env = running[0].env | {"CUDA_VISIBLE_DEVICES": "0"}
    second = begin(tmp_path, *arguments(tmp_path), "--wait-for-devices", "60", env=env)
    wait_for(lambda: recorded(tmp_path, "waiting for 1 devices"))
    assert end(second, signal.SIGINT, tmp_path).code == 130


def test_a_device_that_somebody_uses_is_left_alone(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    host = Nvidia(tmp_path / "host", 1)
    host.gpus[0] |= {"used": 3 << 30, "processes": [[stranger.pid, 3 << 30]]}
    host.write()
    done = run(tmp_path, *arguments(tmp_path), env=host.env)
    assert done.code == 4
    assert f"0: in use by sleep 300 (pid {stranger.pid}, " in done.problems["prepare"]
    assert ", 3072 MiB)" in done.problems["prepare"]


def test_memory_of_a_process_that_cannot_be_seen_counts(tmp_path: Path) -> None:
    host = Nvidia(tmp_path / "host", 1)
    host.gpus[0]["used"] = 3 << 30
    host.write()
    done = run(tmp_path, *arguments(tmp_path), env=host.env)
    assert done.code == 4
    assert "3072 MiB in use by a process that cannot be seen from here" in done.problems["prepare"]


def test_a_process_on_a_device_without_memory_of_its_own_counts(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    host = Nvidia(tmp_path / "host", 1)
    host.gpus[0] |= {"errors": {"memory": "Not Supported"}, "processes": [[stranger.pid, 64 << 30]]}
    host.write()
    for more in ([], ["--assume-free"]):
        folder = tmp_path / f"run{len(more)}"
        done = run(folder, *arguments(folder), *more, env=host.env)
        assert done.code == 4
        assert f"0: in use by sleep 300 (pid {stranger.pid}, " in done.problems["prepare"]
        assert not (done.directory / "servers.json").exists()


def test_a_device_without_memory_of_its_own_is_free_if_nobody_is_on_it(tmp_path: Path) -> None:
    host = Nvidia(tmp_path / "host", 1)
    host.gpus[0]["errors"] = {"memory": "Not Supported"}
    host.write()
    done = run(tmp_path, *arguments(tmp_path), env=host.env)
    assert done.code == 0, done.output
    teardown = next(each for each in done.result.checks if each.name == "teardown")
    assert (teardown.measured, teardown.high, teardown.unit) == (0, 0, "left: processes, ports, devices")
    assert "memory: Not Supported" in teardown.details


def test_a_device_of_which_nothing_is_known_is_taken_only_if_the_user_says_so(tmp_path: Path) -> None:
    host = Nvidia(tmp_path / "host", 1)
    host.gpus[0]["errors"] = {"memory": "Not Supported", "processes": "Insufficient Permissions"}
    host.write()
    done = run(tmp_path / "first", *arguments(tmp_path / "first"), env=host.env)
    assert done.code == 4
    message = done.problems["prepare"]
    assert "0: cannot tell whether it is free: memory: Not Supported, processes: Insufficient Permissions" in message
    assert "--assume-free takes it all the same" in message
    done = run(tmp_path / "second", *arguments(tmp_path / "second"), "--assume-free", env=host.env)
    assert done.code == 0, done.output


def test_memory_decides_where_processes_are_not_listed(tmp_path: Path) -> None:
    host = Nvidia(tmp_path / "host", 2)
    for gpu, used in zip(host.gpus, (3 << 30, 600 << 20), strict=True):
        gpu |= {"used": used, "errors": {"processes": "Insufficient Permissions"}}
    host.write()
    done = run(tmp_path, *arguments(tmp_path), env=host.env)
    assert done.code == 0, done.output
    assert visible_to(done) == "1"


def test_a_lost_device_is_said_and_the_others_are_used(tmp_path: Path) -> None:
    host = Nvidia(tmp_path / "host", 4)
    host.gpus[2]["errors"] = {"handle": "GPU is lost"}
    host.write()
    done = run(tmp_path / "three", *arguments(tmp_path / "three", None, **tensor_parallel(3)), env=host.env)
    assert done.code == 0, done.output
    assert visible_to(done) == "GPU-0aaa,GPU-1aaa,GPU-3aaa"
    assert recorded(tmp_path / "three", "device 2 cannot be used: GPU is lost")
    done = run(tmp_path / "four", *arguments(tmp_path / "four", None, **tensor_parallel(4)), env=host.env)
    assert done.code == 4
    assert "needs 4 cuda devices, there are 3: device 2 cannot be used: GPU is lost" in done.problems["prepare"]


def test_a_driver_that_fails_is_said_in_its_own_words(tmp_path: Path) -> None:
    host = Nvidia(tmp_path / "host", 1)
    host.errors = {"init": "Driver/library version mismatch"}
    host.write()
    done = run(tmp_path / "cuda", *arguments(tmp_path / "cuda"), env=host.env)
    assert done.code == 4
    assert "NVIDIA's driver: Driver/library version mismatch; reboot" in done.problems["prepare"]
    # Never another platform instead, which would be green.
    both = arguments(tmp_path / "both", platforms=["cuda", "cpu"])
    done = run(tmp_path / "both", *both, env=host.env)
    assert done.code == 4
    assert "Driver/library version mismatch" in done.output
    assert "--platform" in done.output
    assert not list((tmp_path / "both").glob("runs/*/case.json"))
    done = run(tmp_path / "cpu", *both, "--platform", "cpu", env=host.env)
    assert done.code == 0, done.output


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ("0,0", 4, "CUDA_VISIBLE_DEVICES names device 0 twice, which leaves no device at all"),
        ("1,9", 0, "CUDA_VISIBLE_DEVICES names device 9, and the driver shows 2; it ends the list"),
        ("NoDevFiles", 4, "needs 1 cuda devices, there are 0: CUDA_VISIBLE_DEVICES=NoDevFiles leaves none"),
    ],
)
def test_what_a_variable_names_wrongly_is_said(tmp_path: Path, given: str, code: int, said: str) -> None:
    host = Nvidia(tmp_path / "host", 2)
    done = run(tmp_path, *arguments(tmp_path), env=host.env | {"CUDA_VISIBLE_DEVICES": given})
    assert done.code == code, done.output
    assert recorded(tmp_path, said) or said in done.problems["prepare"]


def test_what_the_driver_keeps_for_itself_does_not_count(tmp_path: Path) -> None:
    host = Nvidia(tmp_path / "host", 1)
    host.gpus[0]["used"] = 600 << 20
    host.write()
    done = run(tmp_path, *arguments(tmp_path), env=host.env)
    assert done.code == 0, done.output


def test_a_process_that_stays_on_a_device_is_an_error_with_its_pid(
    tmp_path: Path, stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Nvidia(tmp_path / "host", 1)
    process = begin(tmp_path, *arguments(tmp_path, {"server": {"start_after": 1}}), env=host.env)
    wait_for(lambda: any(map(serves, tmp_path.glob("runs/*"))))
    host.gpus[0] |= {"used": 2 << 30, "processes": [[stranger.pid, 2 << 30]]}
    host.write()
    done = end(process, None, tmp_path)
    assert done.code == 4, done.output
    assert "device 0 is still in use by sleep 300" in done.problems["teardown"]
    assert f"pid {stranger.pid}" in done.problems["teardown"]
    again = harness("assert", done.directory)
    assert again.returncode == 4
    assert "still in use" in again.stdout


def test_an_index_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    host = Nvidia(tmp_path / "host", 2)
    done = run(tmp_path, *arguments(tmp_path), env=host.env | {"CUDA_VISIBLE_DEVICES": "2"})
    assert done.code == 4
    assert "CUDA_VISIBLE_DEVICES names device 2, and the driver shows 2" in done.problems["prepare"]


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    host = Nvidia(tmp_path / "host", 1, INFERENCE_HARNESS_LEASES=str(tmp_path / "file" / "leases"))
    done = run(tmp_path, *arguments(tmp_path), env=host.env)
    assert done.code == 4
    assert "name another folder by INFERENCE_HARNESS_LEASES" in done.problems["prepare"]


def test_each_case_of_a_run_gives_its_devices_back(tmp_path: Path) -> None:
    axis = {"5": {"timeouts": {"stop": 5.0}}, "6": {"timeouts": {"stop": 6.0}}}
    done = run(tmp_path, *arguments(tmp_path, matrix={"stop": axis}), env=Nvidia(tmp_path / "host", 1).env)
    assert done.code == 0, done.output
    assert len(list(done.runs.glob("*/result.json"))) == 2


def test_devices_says_who_has_them_and_who_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Nvidia(tmp_path / "host", 3)
    host.gpus[1]["used"] = 3 << 30
    host.write()
    monkeypatch.setenv(leases.FOLDER, host.env[leases.FOLDER])
    there = [Device(str(index), gpu["uuid"]) for index, gpu in enumerate(host.gpus)]
    me = lock_files.Party.me("eagle3/wide", Path("/runs/wide"))
    _, held = leases.acquire(
        there[:1], 1, "mtp/narrow", Path("/runs/narrow"), foreign=lambda *_: "", wait=0, on_tick=print
    )
    with held, tickets.taken(lock_files.folder(), there[:2], 2, me):
        said = harness("devices", env=host.env).stdout.splitlines()
        document = json.loads(harness("devices", "--format", "json", env=host.env).stdout)
    wide = f"eagle3/wide in /runs/wide (pid {os.getpid()}, "
    assert said[0].startswith(f"cuda 0 (NVIDIA H200, 140 GiB): leased by mtp/narrow in /runs/narrow (pid {os.getpid()}")
    assert f"; kept for {wide}" in said[0]
    assert said[1].startswith("cuda 1 (NVIDIA H200, 140 GiB): 3072 MiB in use by a process that cannot be seen")
    assert said[2] == "cuda 2 (NVIDIA H200, 140 GiB): free"
    assert said[3].startswith(f"1. in the queue: {wide}")
    assert said[3].endswith(" waits for 2 of cuda 0, cuda 1")
    assert [each["state"] for each in document["devices"]] == ["leased", "in use", "free"]
    assert [each["kept_for"] for each in document["devices"]] == [1, 1, None]
    assert document["queue"][0]["among"] == [each.uuid for each in there[:2]]
    assert harness("devices", env=host.env).stdout.splitlines() == [
        "cuda 0 (NVIDIA H200, 140 GiB): free",
        said[1].partition(";")[0],
        said[2],
        "nobody waits",
    ]


def test_a_waiting_run_removes_what_a_killed_one_left_on_its_device(
    tmp_path: Path, running: tuple[Nvidia, subprocess.Popen[str]]
) -> None:
    host, first = running
    only = host.env | {"CUDA_VISIBLE_DEVICES": "0"}
    second = begin(tmp_path, *arguments(tmp_path), "--wait-for-devices", "60", env=only)
    wait_for(lambda: recorded(tmp_path, "0: leased by mtp/known_answer_k1"))
    end(first, signal.SIGKILL, tmp_path / "first")
    done = end(second, None, tmp_path)
    assert done.code == 0, done.output
    assert "left by a run that was killed, removed: " in done.output
    assert left_in(tmp_path / "first") == []


def test_a_device_is_asked_for_when_everything_else_is_ready(
    tmp_path: Path, running: tuple[Nvidia, subprocess.Popen[str]]
) -> None:
    """What waits for a device has its answers, its canary and its models, so that no device ever waits for these."""
    only = running[0].env | {"CUDA_VISIBLE_DEVICES": "0"}
    second = begin(tmp_path, *arguments(tmp_path), "--wait-for-devices", "60", env=only)
    wait_for(lambda: recorded(tmp_path, "0: leased by mtp/known_answer_k1"))
    folder = next(tmp_path.glob("runs/*/case.json")).parent
    case = json.loads((folder / "case.json").read_text())
    assert (folder / "capabilities.json").exists()
    assert all(each["ok"] for each in json.loads((folder / "canary.json").read_text()))
    assert [Path(each["path"]).is_dir() for each in case["checkpoints"].values()] == [True]
    assert case["runtime"]["devices"] == []
    assert end(second, signal.SIGTERM, tmp_path).code == 130


@pytest.fixture
def take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(leases.FOLDER, str(tmp_path / "leases"))

    def acquire(devices: list[Device], count: int = 1) -> tuple[list[Device], ExitStack]:
        def tick(_: str) -> None:
            pass

        return leases.acquire(devices, count, "somebody", tmp_path, foreign=lambda *_: "", wait=0, on_tick=tick)

    return acquire


def test_a_slice_and_its_accelerator_exclude_each_other(take: Any) -> None:
    whole = Device("0", "GPU-a")
    slices = [Device(f"MIG-{number}", f"MIG-{number}", whole="GPU-a") for number in range(2)]
    _, first = take(slices[:1])
    _, second = take(slices[1:])
    for taken in (whole, *slices):
        with pytest.raises(leases.Refused):
            take([taken])
    first.close()
    with pytest.raises(leases.Refused):
        take([whole])
    second.close()
    _, third = take([whole])
    with pytest.raises(leases.Refused, match="leased with all of GPU-a by somebody"):
        take(slices)
    third.close()


def test_a_user_without_a_name_can_lease(tmp_path: Path, take: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    _, held = take([Device("0", "GPU-a")])
    assert json.loads(next((tmp_path / "leases").iterdir()).read_text())["user"] == "54321"
    held.close()


def test_all_or_nothing(take: Any) -> None:
    two = [Device("0", "GPU-a"), Device("1", "GPU-b")]
    _, held = take(two[1:])
    with pytest.raises(leases.Refused, match="1 of 2 free; 1: leased by somebody"):
        take(two, 2)
    found, again = take(two)
    assert found == two[:1]
    held.close()
    again.close()


def test_a_lock_of_another_user_is_opened_and_not_made(tmp_path: Path, take: Any) -> None:
    _, held = take([Device("0", "GPU-a")])
    held.close()
    (path,) = (tmp_path / "leases").iterdir()
    assert path.stat().st_mode & 0o777 == 0o666
    assert path.parent.stat().st_mode & 0o1777 == 0o1777
    assert json.loads(path.read_text())["pid"] == os.getpid()


def test_children_do_not_keep_a_lease(take: Any) -> None:
    _, held = take([Device("0", "GPU-a")])
    with subprocess.Popen(["sleep", "30"], close_fds=False) as child:
        held.close()
        _, again = take([Device("0", "GPU-a")])
        again.close()
        child.kill()
